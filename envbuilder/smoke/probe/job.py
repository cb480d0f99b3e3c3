"""One job in its own process: which jobs there are, and the entry point that runs one."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import resource
import signal
import sys
import traceback
from typing import Callable

from .facts import Absent, Emitter, Facts, Inapplicable, describe, kind_of
from .samples import MODALITIES
from .told import Telling

PR_SET_PDEATHSIG = 1
MODULES = {
    "engine.run": "serving",
    "import": "imports",
    "start.serve": "serve",
    "tokens.mixed": "mixed",
}
"""Jobs, and kinds of jobs, that are called otherwise than their module."""


def expand(request: Facts) -> list[str]:
    """Return the names of the jobs that the requested checks consist of, longest first.

    The request's ``jobs``, where it names any, are all that is left of them.
    """
    checks = set(request["checks"])
    names = ["sent"] if request["sent"] and request["models"] else []
    for kind in ("engine", "tokens", "architecture", "engine.run"):
        if kind.partition(".")[0] in checks:
            for number, model in enumerate(request["models"]):
                names += [numbered(name, number) for name in _of_model(kind, model)]
    if "start" in checks and request.get("start"):
        start = request["start"]
        names += ["start.serve"] if start["serve"] and request["models"] else []
        names += ["start"] + (["start.run"] if start["run"] else [])
    names += [name for name in ("environment", "caches", "gpu") if name in checks]
    if "environment" in checks:
        requested = [item["name"] for item in request["expected"] if item["requested"]]
        names += ["import." + name for name in requested]
    wanted = request["jobs"]
    return [name for name in names if not wanted or {name, parted(name)[0]} & set(wanted)]


def _of_model(kind: str, model: Facts) -> list[str]:
    """Return the jobs of ``kind`` for one model: what has no weights is not run."""
    if kind == "tokens":
        counted = ["tokens." + modality for modality in reversed(MODALITIES)]
        return counted if model["bare"] else [*counted, "tokens.mixed"]
    if kind == "engine":
        return ["engine.vllm", "engine.tight"]
    if kind == "engine.run" and model["bare"]:
        return []
    return [kind]  # engine.run, the largest of all, starts when the others are about done


def numbered(name: str, number: int) -> str:
    """Return what the job ``name`` of the model ``number`` is called; the first is plain."""
    return f"{name}@{number}" if number else name


def parted(name: str) -> tuple[str, int]:
    """Return the job that ``name`` stands for, and the number of its model."""
    kind, _, number = name.partition("@")
    return kind, int(number or 0)


def main(name: str, descriptor: int) -> int:
    """Run the job ``name`` of the request on standard input; return the exit code."""
    return run(name, descriptor, json.loads(sys.stdin.read()))


def run(name: str, descriptor: int, request: Facts) -> int:
    """Run the job ``name`` of ``request``; its facts go to ``descriptor``. Return the exit code."""
    emit = Telling(descriptor, name)
    emit.pipe = request.get("progress")
    die_with_parent()
    kind, number = parted(name)
    request["model"] = next(iter(request["models"][number:]), None)
    try:
        _entry(kind)(request, emit)
    except (Absent, Inapplicable) as reason:
        emit(failure={"kind": type(reason).__name__.lower(), "message": str(reason)})
    except BaseException as error:
        emit(failure={"kind": kind_of(error), "message": describe(error), "where": _where(error)})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    emit(finished={"peak_memory": peak})
    return 0


def _entry(name: str) -> Callable[[Facts, Emitter], None]:
    """Return what runs the job ``name``; the part after the dot goes to it as an argument."""
    kind, _, rest = name.partition(".")
    if name == "start.run":
        return importlib.import_module(".start", __package__).run_command  # type: ignore[no-any-return]
    module = importlib.import_module("." + MODULES.get(name, MODULES.get(kind, kind)), __package__)
    if not rest or name in MODULES:
        return module.run  # type: ignore[no-any-return]
    return lambda request, emit: module.run(request, emit, rest)


def die_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux's libc: the container ends us
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _where(error: BaseException) -> list[str]:
    """Return the last three frames of ``error`` as ``file:line name``."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
