"""Real pairs of a transformers release and a model family: does the smoke test stay calm?

Every release becomes an image of its own on the CPU environment's Debian base, where nothing but
small wheels differs: seconds each. ``python -m tests.pairs`` smokes all releases with all families
and prints the table that docs/decisions/smoke-by-counting.md keeps. With ``--quick`` it runs one
job of each: the one that counts every modality alone, twice and together, and generates.
"""

import dataclasses
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
DAY = "2026-11-20T00:00:00Z"
"""What the indexes held then is resolved: the newest release was a week old."""
RELEASES = ("4.52.4", "4.53.3", "4.54.1", "4.55.4", "4.56.2", "4.57.6", "5.23.0")

BROKEN = {
    ("4.52.4", "internvl"): "internvl-several-videos",
    ("4.57.6", "qwen3_omni_moe"): "omni-image-beside-video",
    ("4.54.1", "qwen2_audio"): "audio-generate-call",
    ("4.54.1", "qwen2_vl"): "video-mask-of-images",
}
"""Pairs that do not work together, and the cause that the report must name."""


@contextmanager
def environment(release: str, folder: Path) -> Iterator[tuple[Prepared, SmokePlan]]:
    """Lock and build the CPU environment with another ``release`` of transformers, and prepare it.

    All other pins are held where the release allows it; the specs lie in ``folder``.
    """
    store, silent = Store.default(), Silent()
    spec = folder / release / "omni-cpu.yaml"
    spec.parent.mkdir()
    text = (LOCKFILES / "omni-cpu.yaml").read_text()
    text = re.sub(r"(?m)^(  transformers: ).*$", rf'\1"=={release}"', text)
    spec.write_text(re.sub(r"(?m)^(index: ).*$", rf"\1{{exclude_newer: {DAY}}}", text))
    shutil.copy(LOCKFILES / "pylock.omni-cpu.toml", spec.parent)
    lock = lock_environment(context(store, silent), spec)
    image = make_image(context(store, silent), lock)
    with choose("auto", store).prepared(image, progress=silent) as ready:
        yield ready, smoke_plan(lock, folder=spec.parent)


def pair(run: Run, plan: SmokePlan, family: str, *, quick: bool) -> Report:
    """Smoke the counts of ``family``; what the spec states for another family is left out.

    ``quick``: only the job that runs the model.
    """
    asked = dataclasses.replace(
        plan,
        models=(ProbedModel(family=family),),
        checks=("tokens",),
        jobs=("tokens.mixed",) if quick else (),
    )
    return smoke(run, asked, subject=family)


def verdict(report: Report) -> str:
    """Return "green", "-" where the release is older than the family, or else the cause."""
    if report.ok:
        return "green"
    bad = [check for check in report.checks if check.status is not CheckStatus.PASS]
    older = r"has no \w+$|does not recognize this architecture"
    if all(re.search(older, check.explanation) for check in bad):
        return "-"
    causes = [check.cause.id for check in bad if check.cause is not None]
    return ", ".join(causes) or report.summary


def main(arguments: list[str]) -> int:
    """Print a row for each release and a column for each family; return 1 where one is red."""
    names, red = families.names(), False
    print("| transformers | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for release in RELEASES:
            cells = []
            with environment(release, folder) as (ready, plan):
                for name in names:
                    report = pair(ready.run, plan, name, quick="--quick" in arguments)
                    found = verdict(report)
                    red |= found not in (BROKEN.get((release, name), "green"), "-")
                    cells.append(found)
            print(f"| {release} | " + " | ".join(cells) + " |", flush=True)
    return int(red)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
