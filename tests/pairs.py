"""Real pairs of a transformers release and a model family: does the smoke test stay calm?

Every release becomes an image of its own on the CPU environment's Debian base, where nothing but
small wheels differs: seconds each. ``python -m tests.pairs [RELEASE...]`` smokes them with all
families, and writes docs/reference/pairs.md. With ``--quick`` it runs one job of each: the one that
counts every modality alone, twice and together, and generates.
"""

import dataclasses
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import envbuilder
from envbuilder.model.progress import Silent
from envbuilder.runtime import Prepared, choose
from envbuilder.smoke import CheckStatus, ProbedModel, Report, Run, SmokePlan, smoke
from envbuilder.smoke.probe import families
from envbuilder.storage.store import Store
from envbuilder.workflow.build import make_image
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.smoke import smoke_plan
from tests.contexts import context

LOCKFILES = Path(envbuilder.__file__).parents[1] / "lockfiles"
# Not 5.19.0: it asks torch for an accelerator on import, which Debian's torch 2.6 refuses on a CPU.
DAY = "2026-11-27T00:00:00Z"
"""What the indexes held then is resolved: the newest release was a week old."""
RELEASES = ("4.52.4", "4.53.3", "4.54.1", "4.55.4", "4.56.2", "4.57.6", "5.23.0", "5.24.0")
PAGE = Path(envbuilder.__file__).parents[1] / "docs/reference/pairs.md"
HEAD = """# Families and releases of transformers

Which release counts and runs which family's tiny model rightly, on Debian's torch 2.6 without a
GPU. `make pairs` smokes every pair and writes this page.
"""

BROKEN = {
    ("4.52.4", "internvl"): "internvl-several-videos",
    ("4.57.6", "granite_speech"): "granite-several-sounds",
    ("4.57.6", "qwen3_omni_moe"): "omni-image-beside-video",
    ("5.23.0", "kimi_k25"): "kimi-video-split",
    ("5.24.0", "llama4"): "llama4-image-outputs",
    ("4.54.1", "qwen2_audio"): "audio-generate-call",
    ("4.54.1", "qwen2_vl"): "video-mask-of-images",
}
"""Pairs that do not work together, and the cause that the report must name."""


LIBRARIES = """\
  num2words: "==0.5.14"
  timm: "==1.0.31"
  mistral-common[audio]: "==1.13.1"
  typing-extensions: ">=4.15"
"""
"""What the processors and encoders of some families need beside transformers; pydantic, which
mistral-common brings, needs newer typing-extensions than Debian's."""


@contextmanager
def environment(
    release: str, folder: Path, *, libraries: bool = False
) -> Iterator[tuple[Prepared, SmokePlan]]:
    """Lock and build the CPU environment with another ``release`` of transformers, and prepare it.

    All other pins are held where the release allows it; the specs lie in ``folder``. With the
    ``libraries`` that some processors need beside transformers, the base is another, too.
    """
    store, silent = Store.default(), Silent()
    spec = folder / release / "omni-cpu.yaml"
    spec.parent.mkdir()
    text = (LOCKFILES / "omni-cpu.yaml").read_text()
    text = re.sub(r"(?m)^(  transformers: ).*$", rf'\1"=={release}"', text)
    if libraries:
        text = text.replace("python3-torchvision]", "python3-torchvision, python3-torchaudio]")
        text = text.replace("  pillow:", f"{LIBRARIES}  pillow:")
        text += "\nbuild: {sdists: [docopt]}\n"
    spec.write_text(re.sub(r"(?m)^(index: ).*$", rf"\1{{exclude_newer: {DAY}}}", text))
    shutil.copy(LOCKFILES / "pylock.omni-cpu.toml", spec.parent)
    lock = lock_environment(context(store, silent), spec)
    image = make_image(context(store, silent), lock)
    with choose("auto", store).prepared(image, progress=silent) as ready:
        yield ready, smoke_plan(lock, folder=spec.parent)


def pairs(run: Run, plan: SmokePlan, names: Sequence[str], *, quick: bool) -> Report:
    """Smoke the counts of all families in ``names`` at once, each a model of its own.

    ``quick``: only the job that runs the model.
    """
    asked = dataclasses.replace(
        plan,
        models=tuple(ProbedModel(family=name) for name in names),
        checks=("tokens",),
        jobs=("tokens.mixed",) if quick else (),
        timeout=3600.0,
    )
    return smoke(run, asked, subject=", ".join(names))


def verdict(report: Report, name: str) -> str:
    """Return "green", "-" where the release is older than the family, or else the cause."""
    bad = [
        check
        for check in report.checks
        if check.model == name and check.status not in {CheckStatus.PASS, CheckStatus.SKIP}
    ]
    if not bad:
        return "green"
    older = r"has no \w+$|does not recognize this architecture"
    if all(re.search(older, check.explanation) for check in bad):
        return "-"
    causes = [check.cause.id for check in bad if check.cause is not None]
    return ", ".join(dict.fromkeys(causes)) or bad[0].explanation


def table(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Return release by family as Markdown; what is red says its cause."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| family | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for name in names:
        cells = (_cell(row.get(name, "")) for row in rows.values())
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(found: str) -> str:
    return found if found in {"green", "-", ""} else f"**{found}**"


def write(rows: Mapping[str, Mapping[str, str]], *, quick: bool) -> None:
    """Write the page; every cell is of this run."""
    cells = [cell for row in rows.values() for cell in row.values() if cell != "-"]
    green = cells.count("green")
    what = "each modality alone, twice and all together" if quick else "all counts"
    PAGE.write_text(
        f"{HEAD}\n{table(rows)}\n"
        f"Run on {datetime.now(UTC):%Y-%m-%d}: {what}.\n"
        f"Of {len(cells)} pairs {green} are green; every other cell names the page of the "
        "cause book that\nthe report gave (`envbuilder smoke explain CAUSE`). A dash: the release "
        "is older than the family.\n"
    )


def main(arguments: list[str]) -> int:
    """Smoke every release with every family and write the page; return 1 where one is red."""
    quick = "--quick" in arguments
    chosen = [each for each in arguments if not each.startswith("-")] or RELEASES
    rows: dict[str, dict[str, str]] = {}
    with TemporaryDirectory() as scratch:
        for release in chosen:
            with environment(release, Path(scratch), libraries=True) as (ready, plan):
                report = pairs(ready.run, plan, families.names(), quick=quick)
            rows[release] = {name: verdict(report, name) for name in families.names()}
            print(release, rows[release], f"{report.seconds:.0f} s", flush=True)
    write(rows, quick=quick)
    known = {(release, name): cause for (release, name), cause in BROKEN.items()}
    return int(
        any(
            found not in {known.get((release, name), "green"), "-"}
            for release, row in rows.items()
            for name, found in row.items()
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
