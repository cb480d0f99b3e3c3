"""Real pairs of a release and a model family: does the smoke test stay calm?

Every release of transformers becomes an image of its own on the CPU environment's Debian base,
where nothing but small wheels differs: seconds each. Every release of vLLM is made fit for a CPU
first (:mod:`tests.vllm_wheels`). ``python -m tests.pairs [RELEASE...] [vllm]`` smokes them with all
families, and renews their columns of docs/reference/pairs.md. With ``--quick`` transformers runs
one job of each: the one that counts every modality alone, twice and together, and generates.
"""

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import envbuilder
from envbuilder.model.progress import Silent
from envbuilder.runtime import Prepared, choose
from envbuilder.smoke import CheckStatus, ProbedModel, Report, Run, SmokePlan, smoke
from envbuilder.smoke.judge import judge
from envbuilder.smoke.judge.jobs import of_model
from envbuilder.smoke.probe import families
from envbuilder.smoke.probe.job import numbered
from envbuilder.smoke.probe.samples import MODALITIES
from envbuilder.smoke.run_probe import ask
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import make_image
from envbuilder.workflow.smoke import smoke_plan
from tests import vllm_wheels
from tests.contexts import context
from tests.pairs_page import UNPROVEN, Column, read, renew
from tests.published import wheel_of

LOCKFILES = Path(envbuilder.__file__).parents[1] / "lockfiles"
# Not 5.19.0: it asks torch for an accelerator on import, which Debian's torch 2.6 refuses on a CPU.
DAY = "2026-11-27T00:00:00Z"
"""What the indexes held then is resolved: the newest release was a week old."""
RELEASES = ("4.52.4", "4.53.3", "4.54.1", "4.55.4", "4.56.2", "4.57.6", "5.23.0", "5.24.0")
ENGINES = {"0.33.0": "5.20.2"}
"""Releases of vLLM, and the newest transformers that each asks for."""

BROKEN = {
    ("4.52.4", "granite_speech"): "granite-several-sounds",
    ("4.52.4", "internvl"): "internvl-several-videos",
    ("4.54.1", "granite_speech"): "granite-several-sounds",
    ("4.54.1", "internvl"): "internvl-several-videos",
    ("4.54.1", "qwen2_audio"): "audio-generate-call",
    ("4.54.1", "qwen2_vl"): "video-mask-of-images",
    ("4.57.6", "granite_speech"): "granite-several-sounds",
    ("4.57.6", "qwen3_omni_moe"): "omni-image-beside-video",
    ("5.23.0", "kimi_k25"): "kimi-video-split",
    ("5.24.0", "llama4"): "llama4-image-outputs",
}
"""Pairs that do not work together, and the cause that the report must name."""
BROKEN_ENGINES = {
    ("0.33.0", "aya_vision"): "engine-reserves-squares",
    ("0.33.0", "deepseek_ocr2"): "engine-by-transformers",
    ("0.33.0", "deepseek_vl"): "engine-by-transformers",
    ("0.33.0", "kimi_k25"): "engine-by-transformers",
    ("0.33.0", "ovis2"): "engine-by-transformers",
    ("0.33.0", "phi4_multimodal"): "engine-by-transformers",
    ("0.33.0", "smolvlm"): f"{UNPROVEN}engine-refuses-modality",
}
"""The same of vLLM's releases."""
ASKED = "reserve, counts and limit"
ANSWERS = Path(__file__).parent / "unit/data/engine.json"
ODD = (
    *("aya_vision", "deepseek_vl", "internvl", "kimi_k25", "paligemma", "phi4_multimodal"),
    *("smolvlm", "voxtral", "whisper"),
)
"""Families about which an engine answers otherwise than about most: what it said is kept."""
UNKNOWN = r"has no \w+$|does not recognize this architecture|are not supported for now"
"""How transformers and vLLM say that they are older than a model, or never knew it."""

LIBRARIES = {
    "num2words": "==0.5.14",
    "timm": "==1.0.31",
    "mistral-common[audio]": "==1.13.1",
    "typing-extensions": ">=4.15",
}
"""What the processors and encoders of some families need beside transformers; pydantic, which
mistral-common brings, needs newer typing-extensions than Debian's."""
SDISTS = "build: {sdists: [docopt]}\n"
"""What num2words needs, and what has no wheels."""


@contextmanager
def environment(
    release: str, folder: Path, *, libraries: bool = False
) -> Iterator[tuple[Prepared, SmokePlan]]:
    """Lock and build the CPU environment with another ``release`` of transformers, and prepare it.

    All other pins are held where the release allows it; the specs lie in ``folder``. It is without
    bytecode, since modules are spoilt in it. With the ``libraries`` that some processors need
    beside transformers, the base is another, too.
    """
    store, silent = Store.default(), Silent()
    spec = folder / release / "omni-cpu.yaml"
    spec.parent.mkdir()
    text = (LOCKFILES / "omni-cpu.yaml").read_text()
    text = re.sub(r"(?m)^(  transformers: ).*$", rf'\1"=={release}"', text)
    text = re.sub(r"(?m)^bytecode: .*\n", "", text)
    if libraries:
        text = text.replace("python3-torchvision]", "python3-torchvision, python3-torchaudio]")
        listed = "".join(f'  {name}: "{version}"\n' for name, version in LIBRARIES.items())
        text = text.replace("  pillow:", f"{listed}  pillow:")
        text += SDISTS
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


@contextmanager
def engine(release: str, transformers: str, folder: Path) -> Iterator[tuple[Prepared, SmokePlan]]:
    """Lock and build a release of vLLM beside one of transformers, and prepare it."""
    vllm_wheels.beside(folder)
    files = wheel_of("vllm", release, python=vllm_wheels.PYTHON)
    vllm_wheels.repack(folder, "vllm", release + vllm_wheels.CPU, files)
    packages = {
        "vllm": f"=={release}{vllm_wheels.CPU}",
        "transformers": f"=={transformers}",
        **LIBRARIES,
    }
    with vllm_wheels.environment(folder, packages, SDISTS) as (ready, lock):
        yield ready, smoke_plan(lock, folder=folder)


def asked_engine(plan: SmokePlan, names: Sequence[str]) -> SmokePlan:
    """Return the plan that asks the engine about ``names``, and transformers to compare."""
    return dataclasses.replace(
        plan,
        models=tuple(ProbedModel(family=name) for name in names),
        checks=("tokens", "engine"),
        jobs=("engine.vllm", "engine.tight", *(f"tokens.{kind}" for kind in MODALITIES)),
        gpu="never",
        timeout=7200.0,
    )


def verdict(report: Report, name: str, group: str = "") -> str:
    """Return "green", "-" where the release does not know the family, or else the causes.

    Of the checks whose names begin with ``group``; what has no cause is said in its own words, and
    what is not red that it is unproven.
    """
    own = [one for one in report.checks if one.model == name and one.name.startswith(group)]
    bad = [one for one in own if one.status not in {CheckStatus.PASS, CheckStatus.SKIP}]
    if not bad:
        passed = any(check.status is CheckStatus.PASS for check in own)
        return "green" if passed else own[0].explanation
    if all(re.search(UNKNOWN, check.explanation) for check in bad):
        return "-"
    causes = dict.fromkeys(check.cause.id for check in bad if check.cause is not None)
    told = ", ".join(causes) or bad[0].explanation
    unproven = all(check.status is CheckStatus.UNPROVEN for check in bad)
    return f"{UNPROVEN}{told}" if unproven else told


def run_transformers(releases: Sequence[str], folder: Path, *, quick: bool) -> None:
    """Smoke every release with every family, and renew the page after each."""
    for release in releases:
        with environment(release, folder, libraries=True) as (ready, plan):
            report = pairs(ready.run, plan, families.names(), quick=quick)
        what = "each modality alone, twice and all together" if quick else "all counts"
        _renew("transformers", release, report, Column(what=what, cells=_cells(report)))


def run_engines(folder: Path) -> None:
    """Ask every release of vLLM about every family, renew the page, keep what it said of some."""
    for release, beside in ENGINES.items():
        (folder / release).mkdir()
        with engine(release, beside, folder / release) as (ready, plan):
            wanted = asked_engine(plan, families.names())
            document = ask(ready.run, wanted)
        if release == next(iter(ENGINES)):
            ANSWERS.write_text(json.dumps(kept(document, families.names())) + "\n")
        report = judge(wanted, document, subject=release)
        cells = _cells(report, "engine.")
        _renew("vllm", release, report, Column(what=ASKED, cells=cells, beside=beside))


def kept(document: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what ``document``, about models ``names``, holds of the engine about :data:`ODD`."""
    jobs = [
        {**job, "name": numbered(job["name"], number)}
        for number, name in enumerate(ODD)
        for job in of_model(document, names.index(name))["jobs"]
        if job["name"].startswith("engine.")
    ]
    return {**document, "jobs": jobs}


def _cells(report: Report, group: str = "") -> dict[str, str]:
    return {name: verdict(report, name, group) for name in families.names()}


def _renew(part: str, release: str, report: Report, column: Column) -> None:
    print(part, release, dict(column.cells), f"{report.seconds:.0f} s", flush=True)
    renew(part, {release: column})


def surprises() -> list[str]:
    """Return the pairs of the record that are neither green nor red for a known cause."""
    known = {("transformers", *pair): cause for pair, cause in BROKEN.items()}
    known |= {("vllm", *pair): cause for pair, cause in BROKEN_ENGINES.items()}
    return [
        f"{part} {release} {name}: {found}"
        for part, columns in read().items()
        for release, column in columns.items()
        for name, found in column.cells.items()
        if found not in {known.get((part, release, name), "green"), "-"}
    ]


def main(arguments: list[str]) -> int:
    """Smoke what was asked for, renew the page; return 1 if a pair of it is red unexpectedly."""
    quick = "--quick" in arguments
    chosen = [each for each in arguments if not each.startswith("-")] or [*RELEASES, "vllm"]
    with TemporaryDirectory() as scratch:
        releases = [each for each in chosen if each != "vllm"]
        run_transformers(releases, Path(scratch), quick=quick)
        if "vllm" in chosen:
            run_engines(Path(scratch))
    print("\n".join(surprises()))
    return int(bool(surprises()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
