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


def expand(request: Facts) -> list[str]:
    """Return the names of the jobs that the requested checks consist of, longest first.

    The request's ``jobs``, where it names any, are all that is left of them.
    """
    checks = set(request["checks"])
    names = ["sent"] if request["sent"] and request["model"] else []
    if "engine" in checks and request["model"]:
        names += ["engine.vllm", "engine.tight"]
    if "tokens" in checks and request["model"]:
        names += ["tokens." + modality for modality in (*reversed(MODALITIES), "mixed")]
    if "engine" in checks and request["model"]:
        names.append("engine.run")  # the largest of all: it starts when the others are about done
    if "start" in checks and request.get("start"):
        names += ["start"] + (["start.run"] if request["start"]["run"] else [])
    names += [name for name in ("environment", "caches", "gpu") if name in checks]
    if "environment" in checks:
        requested = [item["name"] for item in request["expected"] if item["requested"]]
        names += ["import." + name for name in requested]
    return [name for name in names if not request["jobs"] or name in request["jobs"]]


def main(name: str, descriptor: int) -> int:
    """Run the job ``name``; its facts go to ``descriptor``. Return the exit code."""
    emit = Telling(descriptor, name)
    request = json.loads(sys.stdin.read())
    emit.pipe = request.get("progress")
    _die_with_parent()
    try:
        _entry(name)(request, emit)
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
    modules = {"tokens.mixed": "mixed", "engine.run": "serving", "import": "imports"}
    module = importlib.import_module("." + modules.get(name, modules.get(kind, kind)), __package__)
    if not rest or name in modules:
        return module.run  # type: ignore[no-any-return]
    return lambda request, emit: module.run(request, emit, rest)


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):  # not Linux's libc: the container ends us
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _where(error: BaseException) -> list[str]:
    """Return the last three frames of ``error`` as ``file:line name``."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
