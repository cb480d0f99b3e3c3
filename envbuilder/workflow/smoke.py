"""The smoke of a lock's image: what it shall find there, and the run.

A pipeline's stage; ``smoke/`` itself knows neither locks nor stores.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from envbuilder import __version__
from envbuilder.engines.foundation import fetch_base
from envbuilder.model.image import Image
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.plan import PREFIX, plan
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.samples import check_samples, own_samples
from envbuilder.resolve.context import Context
from envbuilder.runtime import Runtime
from envbuilder.smoke import (
    About,
    Expected,
    OwnSample,
    ProbedModel,
    Report,
    SmokePlan,
    Start,
    as_it_starts,
    smoke,
)
from envbuilder.smoke.answers import answers_path, answers_to_record, read_answers, write_answers
from envbuilder.smoke.plan import Gpu
from envbuilder.smoke.probe.gpu import driver_version
from envbuilder.storage import build_records
from envbuilder.storage.ledger import now

_DRIVER = Path("/proc/driver/nvidia/version")


def smoke_image(
    context: Context, lock: Lock, image: Image, *, runtime: Runtime, folder: Path
) -> Report:
    """Run the smoke checks of the lock's spec inside ``image``; a later push signs the report.

    ``folder`` is where the spec lies, with the user's samples and the recorded answers.
    """
    if isinstance(lock.base, ImageBase):  # its layers come through only now, to be run
        fetch_base(context, lock)
    with (
        runtime.prepared(image, progress=context.progress) as ready,
        context.progress.step("smoke", f"in a container ({runtime.name})", unit="items"),
    ):
        wanted = as_it_starts(smoke_plan(lock, folder=folder), image.settings)
        report = smoke(ready.run, wanted, subject=lock.spec.name, progress=context.progress)
    report = replace(report, about=about(image, lock, runtime=runtime.name))
    build_records.keep_report(context.store, image.digest, report.to_dict())
    return report


def smoke_plan(lock: Lock, *, folder: Path) -> SmokePlan:
    """Say what the smoke shall find in the image of ``lock``, whose spec lies in ``folder``.

    Raises SpecError for samples that are not there.
    """
    spec = lock.spec
    check_samples(spec, folder)
    model = spec.smoke.model
    return SmokePlan(
        expected=expected(lock),
        installed=tuple(canonicalize_name(wheel.name) for wheel in plan(lock).wheels),
        prefix=PREFIX,
        python=f"{PREFIX}/bin/python",
        model=None
        if model is None
        else ProbedModel(
            family=model.family,
            path=model.path and str(folder.resolve() / Path(model.path).expanduser()),
            hub=model.hub,
            revision=model.revision,
        ),
        tokens={str(name): count for name, count in spec.smoke.tokens.items()},
        samples=tuple(
            OwnSample(path=folder.resolve() / path, modality=modality, label=path)
            for path, modality in own_samples(spec)
        ),
        answers=read_answers(answers_path(folder, spec.name)),
        start=Start(run=spec.smoke.start.run) if spec.smoke.start.run else None,
        gpu=gpu_here(spec.smoke.gpu),
        timeout=float(spec.smoke.timeout),
        memory=spec.smoke.memory << 20,
    )


def about(image: Image | None, lock: Lock | None, *, runtime: str | None = None) -> About:
    """Say what a report is about that is made now, on this host."""
    return About(
        envbuilder=__version__,
        date=now(),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        image=None if image is None else str(image.digest),
        lock=None if lock is None else str(lock_checksum(lock)),
        runtime=runtime,
        driver=driver_version(),
    )


def gpu_here(asked: Gpu) -> Gpu:
    """Return ``asked``, but "never" for "auto" on a host without a driver."""
    return "never" if asked == "auto" and not _DRIVER.exists() else asked


def expected(lock: Lock) -> tuple[Expected, ...]:
    """List the distributions that the lock promises."""
    requested = lock.spec.requested
    wheels = (
        Expected(name=wheel.name, version=wheel.version, requested=wheel.name in requested)
        for wheel in lock.wheels
    )
    sources = (
        Expected(name=source.name, version=source.version, commit=source.commit, requested=True)
        for source in lock.sources
    )
    return tuple(sorted([*wheels, *sources], key=lambda each: each.name))


def record_answers(report: Report, *, name: str, folder: Path) -> None:
    """Write the answers of a green ``report`` beside the spec of ``name``, if they are new."""
    path = answers_path(folder, name)
    answers = answers_to_record(report, read_answers(path))
    if answers is not None:
        write_answers(path, answers)
