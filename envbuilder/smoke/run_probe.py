"""Run the probe where the environment is, and judge what it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from envbuilder.model.errors import SmokeError
from envbuilder.model.progress import Progress
from envbuilder.runtime import Command, Completed, Mount

from .document import UnfitError, read_document
from .judge import judge
from .local_model import check_links, locate
from .plan import MODEL_MOUNT, SmokePlan
from .probe.job import expand
from .report import Report
from .watch import PIPE_MOUNT, watched

PROBE = Path(__file__).parent / "probe"
PROBE_MOUNT = "/run/envbuilder/probe"
GRACE = 30.0
"""Seconds beyond the plan's time limit in which the probe may still hand in what it has."""

Run = Callable[[Command], Completed]
"""Runs one command in the environment; ``Prepared.run`` of a runtime, or ``LocalPython.run``."""


def smoke(
    run: Run, plan: SmokePlan, *, subject: str = "image", progress: Progress | None = None
) -> Report:
    """Run every check of ``plan`` in one command and return the verdict.

    ``progress`` shows each check while it runs.

    Whatever goes wrong inside the container is part of the report. Raises SmokeError if the
    probe left no result at all: no such Python, killed as a whole, or output that is no document.
    """
    document = ask(run, plan, progress=progress)
    return judge(plan, document, subject=subject)


def ask(run: Run, plan: SmokePlan, *, progress: Progress | None = None) -> Mapping[str, Any]:
    """Run the probe and return its document of facts."""
    mounts = [Mount(source=PROBE, target=PROBE_MOUNT)]
    mounts += _samples(plan)
    request = plan.request()
    mounts += _models(plan, request)
    wanted = expand(request)
    with watched(progress, wanted) as pipe:
        if pipe is not None:
            mounts.append(Mount(source=pipe, target=PIPE_MOUNT))
            request["progress"] = PIPE_MOUNT
        completed = run(
            Command(
                args=(plan.python, "-I", "-B", PROBE_MOUNT),
                env=_own_gpus(),
                mounts=tuple(mounts),
                stdin=json.dumps(request).encode(),
                timeout=plan.timeout + GRACE,
                memory=plan.memory,
                # a runtime makes the image's own folder if it is absent
                workdir=None if plan.start is None else "/",
                gpus=plan.gpu != "never",
            )
        )
    try:
        return read_document(completed.stdout, wanted=wanted)
    except UnfitError as error:
        where = f"the image must run {plan.python} (3.9 or newer); envbuilder inspect shows it"
        raise SmokeError(
            f"the probe left no result: {_why(completed, error)}",
            hint="--local takes a Python, 3.9 or newer" if plan.shared else where,
        ) from error


def _own_gpus() -> dict[str, str]:
    """Name the GPUs that are ours, where somebody has dealt them out: no others are used."""
    ours = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {} if ours is None else {"CUDA_VISIBLE_DEVICES": ours}


def _models(plan: SmokePlan, request: dict[str, Any]) -> list[Mount]:
    """Mount each model's directory, and say in ``request`` which it is, and if it has weights."""
    mounts = []
    for number, (model, told) in enumerate(zip(plan.models, request["models"], strict=True)):
        if model.family is not None:
            continue
        found = locate(model)
        if not plan.shared:
            check_links(found)
        target = f"{MODEL_MOUNT}/{number:04d}"
        mounts.append(Mount(source=found.mounted, target=target))
        told["path"] = f"{target}/{found.inside}".rstrip("/")
        told["bare"] = told["bare"] or (model.hub is not None and not found.has_weights)
    return mounts


def _samples(plan: SmokePlan) -> list[Mount]:
    """Mount the user's own files, one by one; raise SmokeError for one that is gone."""
    for item in plan.samples:
        if not item.path.is_file():
            raise SmokeError(
                f"there is no sample {item.path}",
                hint="smoke.samples of the spec names it, from the folder of the spec",
            )
    return [Mount(source=item.path, target=target) for target, item in plan.sample_mounts()]


def _why(completed: Completed, unfit: UnfitError) -> str:
    """Say how the command ended; if it ended well, what is wrong with what it printed."""
    if completed.timed_out:
        return f"killed after {completed.seconds:.0f} s, the time limit"
    if completed.out_of_memory:
        return "killed for lack of memory"
    if completed.exit_code == 0:
        return f"exit code 0, but what it printed does not fit: {unfit}"
    lines = completed.stderr.decode("utf-8", "replace").strip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    return f"exit code {completed.exit_code}{last}"
