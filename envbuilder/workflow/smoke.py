"""The smoke of a lock's image: what it shall find there, and the run.

A pipeline's stage; ``smoke/`` itself knows neither locks nor stores.
"""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from envbuilder import __version__
from envbuilder.engines.foundation import fetch_base
from envbuilder.model.image import Image
from envbuilder.model.lock import ArchiveSource, ImageBase, Lock, Wheel
from envbuilder.model.plan import PREFIX, plan
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.samples import check_samples, own_samples
from envbuilder.model.smoke_spec import ServedModel, StartCommand
from envbuilder.model.spec import Spec
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
from envbuilder.smoke.local_model import check_links, locate
from envbuilder.smoke.plan import Gpu
from envbuilder.smoke.probe.gpu import driver_version
from envbuilder.smoke.touched import read_touched, start_path, write_touched
from envbuilder.storage import build_records
from envbuilder.storage.ledger import now

from .foreign import not_smoked

_DRIVER = Path("/proc/driver/nvidia/version")


def check_at_hand(lock: Lock, *, runtime: Runtime, folder: Path) -> None:
    """Raise for samples (SpecError) and models (SmokeError) of the lock's spec that are not here.

    Whoever builds asks this before minutes of work. Where ``runtime`` cannot run the image, its
    models may be elsewhere.
    """
    check_samples(lock.spec, folder)
    if not_smoked(lock, runtime) is None:
        for model in lock.spec.smoke.served:
            if model.family is None:
                check_links(locate(_probed(lock.spec, model, folder=folder)))


def smoke_image(
    context: Context, lock: Lock, image: Image, *, runtime: Runtime, folder: Path
) -> Report:
    """Run the smoke checks of the lock's spec inside ``image``; a later push signs the report.

    ``folder`` is where the spec lies, with the user's samples and the recorded answers. Where the
    image is for a platform that this machine does not run, the report says that nothing is proven.
    """
    told = about(image, lock, runtime=runtime.name)
    if (report := not_smoked(lock, runtime)) is not None:
        return replace(report, about=told)
    report = replace(_smoked(context, lock, image, runtime, folder), about=told)
    build_records.keep_report(context.store, image.digest, report.to_dict())
    return report


def _smoked(context: Context, lock: Lock, image: Image, runtime: Runtime, folder: Path) -> Report:
    if isinstance(lock.base, ImageBase):  # its layers come through only now, to be run
        fetch_base(context, lock)
    with (
        runtime.prepared(image, progress=context.progress) as ready,
        context.progress.step("smoke", f"in a container ({runtime.name})", unit="items"),
    ):
        wanted = as_it_starts(smoke_plan(lock, folder=folder), image.settings)
        return smoke(ready.run, wanted, subject=lock.spec.name, progress=context.progress)


def smoke_plan(lock: Lock, *, folder: Path) -> SmokePlan:
    """Say what the smoke shall find in the image of ``lock``, whose spec lies in ``folder``.

    Raises SpecError for samples that are not there.
    """
    spec = lock.spec
    check_samples(spec, folder)
    return SmokePlan(
        expected=expected(lock),
        installed=tuple(canonicalize_name(wheel.name) for wheel in plan(lock).wheels),
        prefix=PREFIX,
        python=f"{PREFIX}/bin/python",
        models=tuple(_probed(spec, model, folder=folder) for model in spec.smoke.served),
        samples=tuple(
            OwnSample(path=folder.resolve() / path, modality=modality, label=path)
            for path, modality in own_samples(spec)
        ),
        start=_start(spec.smoke.start),
        gpu=gpu_here(spec.smoke.gpu),
        timeout=float(spec.smoke.timeout),
        memory=spec.smoke.memory << 20,
    )


def _start(asked: StartCommand) -> Start | None:
    """Return what shall be tried as the image starts; None if nothing."""
    if not asked.run and not asked.arguments:
        return None
    return Start(
        run=asked.run,
        serve=asked.arguments,
        ready=asked.ready,
        port=asked.port,
        within=asked.within,
    )


def _probed(spec: Spec, model: ServedModel, *, folder: Path) -> ProbedModel:
    """Say how to count ``model`` of a spec that lies in ``folder``, with its recorded answers."""

    def found(path: str | None) -> str | None:
        return path and str(folder.resolve() / Path(path).expanduser())

    return ProbedModel(
        family=model.family,
        path=found(model.path),
        config=found(model.config),
        hub=model.hub,
        revision=model.revision,
        tokens={str(name): count for name, count in model.tokens.items()},
        answers=read_answers(answers_path(folder, spec.name, _own_name(spec, model.name))),
        label=model.name,
    )


def _own_name(spec: Spec, model: str) -> str:
    """Return the name of a model's own answers; of the only one they are the environment's."""
    return model if len(spec.smoke.served) > 1 else ""


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
    """Return ``asked``, but "never" for "auto" on a host without a driver, or that hides its GPUs.

    CUDA takes an empty list of visible devices for none.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    return "never" if asked == "auto" and (hidden or not _DRIVER.exists()) else asked


def expected(lock: Lock) -> tuple[Expected, ...]:
    """List the distributions that the lock promises."""
    requested = lock.spec.requested
    named: list[Wheel | ArchiveSource] = [*lock.wheels, *lock.archives]
    wheels = (
        Expected(name=each.name, version=each.version, requested=each.name in requested)
        for each in named
    )
    sources = (
        Expected(name=source.name, version=source.version, commit=source.commit, requested=True)
        for source in lock.sources
    )
    return tuple(sorted([*wheels, *sources], key=lambda each: each.name))


def record_touched(report: Report, lock: Lock, *, folder: Path) -> None:
    """Write beside the spec of ``lock`` what a start needs, if ``report`` is green and knows it."""
    path, touched = start_path(folder, lock.spec.name, lock.spec.platform), report.touched
    checksum = lock_checksum(lock)
    if not report.ok or touched is None or touched.problem:
        return
    known = read_touched(path)
    if known is None or known[0] != checksum:
        write_touched(path, touched, checksum)


def answer_files(spec: Spec, folder: Path) -> tuple[Path, ...]:
    """Name the files in ``folder`` that hold, or will hold, the recorded answers of ``spec``."""
    names = (_own_name(spec, model.name) for model in spec.smoke.served)
    return tuple(answers_path(folder, spec.name, name) for name in names)


def record_answers(report: Report, spec: Spec, *, folder: Path) -> None:
    """Write the answers of a green ``report`` beside ``spec``, if they are new."""
    for model, path in zip(spec.smoke.served, answer_files(spec, folder), strict=True):
        answers = answers_to_record(report, read_answers(path), model=model.name)
        if answers is not None:
            write_answers(path, answers)
