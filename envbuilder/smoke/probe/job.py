"""One job in its own process: limits, the entry point, and the lines of facts it leaves behind.

A job writes JSON lines to a file of its own, so that what it found before a crash is not lost:
``{"facts": {…}}`` merges into its facts, ``{"item": {…}}`` appends to its items, ``{"doing": …}``
says what it is about to try, ``{"failure": {…}}`` and ``{"finished": …}`` end it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import traceback

MODALITIES = ("audio", "image", "video")
PR_SET_PDEATHSIG = 1
STARVED = ("can't allocate memory", "Cannot allocate memory", "out of memory")
"""How torch and the C library word an allocation that failed."""


class Absent(Exception):
    """Something that this job needs is missing; the message says what."""


class Inapplicable(Exception):
    """There is nothing to check here; the message says why."""


class Emitter:
    """Writes a job's facts, one JSON line each, flushed at once."""

    def __init__(self, descriptor):
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")

    def __call__(self, **line):
        """Write one line."""
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()


def expand(request):
    """Return the names of the jobs that the requested checks consist of, longest first."""
    checks = set(request["checks"])
    names = []
    if "engine" in checks:
        names.append("engine.vllm")
    if "tokens" in checks and request["model"]:
        names += ["tokens." + modality for modality in (*reversed(MODALITIES), "mixed")]
    names += [name for name in ("environment", "caches", "gpu") if name in checks]
    if "environment" in checks:
        requested = [item["name"] for item in request["expected"] if item["requested"]]
        names += ["import." + name for name in requested]
    return names


def main(name, descriptor):
    """Run the job ``name``; its facts go to ``descriptor``. Return the exit code."""
    emit = Emitter(descriptor)
    request = json.loads(sys.stdin.read())
    _die_with_parent()
    try:
        _entry(name)(request, emit)
    except (Absent, Inapplicable) as reason:
        emit(failure={"kind": type(reason).__name__.lower(), "message": str(reason)})
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
        emit(failure={"kind": kind_of(error), "message": describe(error), "where": _where(error)})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    emit(finished={"peak_memory": peak})
    return 0


def kind_of(error):
    """Return "memory" where ``error`` is an allocation that failed, else "error"."""
    text = str(error)
    starved = isinstance(error, MemoryError) or any(sign in text for sign in STARVED)
    return "memory" if starved else "error"


def describe(error):
    """Return ``Type: message`` on one line, shortened to what a person reads."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:600]


def nothing():
    """Return the facts of a job that never ran."""
    return {"facts": {}, "items": [], "doing": None, "failure": None, "finished": False}


def read_facts(stream):
    """Merge the lines that a job wrote to ``stream`` into one document."""
    merged = nothing()
    stream.seek(0)
    for raw in stream.read().decode("utf-8", "replace").splitlines():
        try:
            line = json.loads(raw)
        except ValueError:
            continue  # the process died while it wrote this line
        merged["facts"].update(line.get("facts", {}))
        if "item" in line:
            merged["items"].append(line["item"])
        merged["doing"] = line.get("doing", merged["doing"])
        merged["failure"] = line.get("failure", merged["failure"])
        if "finished" in line:
            merged["finished"] = True
            merged["peak_memory"] = line["finished"]["peak_memory"]
    return merged


def _entry(name):
    kind, _, rest = name.partition(".")
    module = importlib.import_module(
        {
            "tokens": ".mixed" if rest == "mixed" else ".tokens",
            "import": ".imports",
            "engine": ".engine",
        }.get(kind, "." + kind),
        __package__,
    )
    if kind in ("environment", "caches", "gpu") or rest == "mixed":
        return module.run
    return lambda request, emit: module.run(request, emit, rest)


def _die_with_parent():
    with contextlib.suppress(OSError, AttributeError):  # not Linux's libc: the container ends us
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _where(error):
    """Return the last three frames of ``error`` as ``file:line name``."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
