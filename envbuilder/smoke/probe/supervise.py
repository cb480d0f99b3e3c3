"""Run the requested jobs, each in its own process, and print one JSON document of facts."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Dict, Iterator

from . import job
from .facts import Facts, describe, nothing, read_facts
from .told import tell
from .touched import together
from .zygote import FORKED, Zygote, kind_of, serve

PYTHON = (sys.executable, "-I", "-B")
"""Isolated from the user's site and PYTHON* variables, and leaving no bytecode behind."""
AS_IT_RUNS = ("environment", "import.", "start")
"""Jobs that see the module path as the image will: its own PYTHON* variables count."""
PARALLEL = 2
"""Jobs at a time: the token jobs need up to 1.5 GB each, and the promise is 4 GB in all. Of a real
model, whose weights each job loads, one runs alone."""
ELSEWHERE = ("_CACHE", "_CACHE_DIR", "_CACHE_ROOT")
"""How variables end that lead to caches beside the scratch folder."""
SEEN = ("HOME", "PIP_CACHE_DIR", "UV_CACHE_DIR", "HF_HOME", "HF_HUB_CACHE", "CONDA_PKGS_DIRS")
"""Variables that say where caches lie; jobs run with others, so that they leave none behind."""
_FOLDER = str(Path(__file__).parent)
Zygotes = Dict[str, Zygote]
"""By the kind of jobs that they may fork."""
TAIL = 2000
"""How much (bytes) of a failed job's output is worth keeping."""


def main(arguments: list[str]) -> int:
    """Supervise, run one job (``--job NAME FD``) or fork them (``--zygote KIND FD``).

    Return the exit code.
    """
    if arguments[:1] == ["--job"]:
        return job.main(arguments[1], int(arguments[2]))
    if arguments[:1] == ["--zygote"]:
        return serve(arguments[1], int(arguments[2]))
    result = _claim_stdout()
    request = json.loads(sys.stdin.read())
    request["environ"] = {name: os.environ.get(name, "") for name in SEEN}
    started = time.monotonic()
    deadline = started + request["timeout"]
    names = job.expand(request)
    real = any(model["path"] and not model["bare"] for model in request["models"])
    with (
        tempfile.TemporaryDirectory(prefix="envbuilder-smoke-") as scratch,
        _zygotes(names, scratch) as zygotes,
        ThreadPoolExecutor(1 if real else PARALLEL) as pool,
    ):
        jobs = list(
            pool.map(lambda name: run_job(name, request, scratch, deadline, zygotes), names)
        )
    touched = _touched(jobs)
    document = {
        "version": 1,
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": platform.machine(),
        "libc": "-".join(platform.libc_ver()),
        "cores": os.cpu_count(),
        "seconds": round(time.monotonic() - started, 3),
        "peak_memory": max(_peak(), *(job.get("peak_memory", 0) for job in jobs), 0),
        "touched": touched,
        "jobs": jobs,
    }
    with os.fdopen(result, "w", encoding="utf-8") as stream:
        json.dump(document, stream)
    return 0


def run_job(name: str, request: Facts, scratch: str, deadline: float, zygotes: Zygotes) -> Facts:
    """Run the job ``name`` and return its facts, whatever happens to its process.

    One of ``zygotes`` forks it, where there is one of its kind that is fit.
    """
    started = time.monotonic()
    tell(request.get("progress"), job=name, state="begun")
    if started >= deadline:
        return {**nothing(), "name": name, "seconds": 0.0, "outcome": "timeout"}
    with tempfile.TemporaryFile() as facts, tempfile.TemporaryFile() as output:
        zygote = zygotes.get(kind_of(name))
        fit = zygote is not None and zygote.fits(deadline - started)
        left = deadline - time.monotonic()
        if zygote is not None and fit:
            code = zygote.run(name, request, facts, output, left)
        else:
            code = _alone(name, request, scratch, (facts, output), left)
        outcome = read_facts(facts)
        outcome["name"] = name
        outcome["seconds"] = round(time.monotonic() - started, 3)
        outcome["outcome"] = "timeout" if code is None else _outcome(outcome, code)
        if outcome["outcome"] != "done":
            outcome["output"] = _tail(output)
            outcome["exit_code"] = -9 if code is None else code
    tell(request.get("progress"), job=name, state="ended")
    return outcome


def _alone(
    name: str, request: Facts, scratch: str, files: tuple[IO[bytes], IO[bytes]], timeout: float
) -> int | None:
    """Run the job ``name`` in a new process, its facts and its output into ``files``.

    Return its exit code; None if it had to be killed (with its group) after ``timeout`` (s).
    """
    facts, output = files
    process = subprocess.Popen(
        [*_python(name), _FOLDER, "--job", name, str(facts.fileno())],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        pass_fds=[facts.fileno()],
        env=_environment(scratch, name),
        start_new_session=True,
    )
    try:
        process.communicate(json.dumps(request).encode(), timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return None
    return process.returncode


def _touched(jobs: list[Facts]) -> Facts | None:
    """Take out of ``jobs`` what they touched of the image, and return it together."""
    told = {each["name"]: each["facts"].pop("touched", None) for each in jobs}
    by = sorted(name for name, found in told.items() if found)
    if not by:
        return None
    try:
        return {"by": by, **together(told[name] for name in by)}
    except OSError as error:
        return {"by": by, "problem": describe(error)}


@contextmanager
def _zygotes(names: list[str], scratch: str) -> Iterator[Zygotes]:
    """Start a zygote of each kind that saves anything: for one job alone it does not."""
    zygotes: Zygotes = {}
    with ExitStack() as stack:
        for kind in FORKED:
            forked = [name for name in names if kind_of(name) == kind]
            if len(forked) > 1:
                command = [*PYTHON, _FOLDER, "--zygote", kind]
                zygote = Zygote(command, _environment(scratch, forked[0]))
                zygotes[kind] = stack.enter_context(closing(zygote))
        yield zygotes


def _peak() -> int:
    """Return the most memory (bytes) that any process had which was waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _python(name: str) -> tuple[str, ...]:
    return (sys.executable, "-B") if name.startswith(AS_IT_RUNS) else PYTHON


def _claim_stdout() -> int:
    """Keep the real standard output for the result; what libraries print goes to stderr."""
    result = os.dup(1)
    os.dup2(2, 1)
    return result


def _outcome(facts: Facts, exit_code: int) -> str:
    failure = facts.get("failure") or {}
    if failure.get("kind") == "memory" or exit_code == -9:
        return "memory"  # nobody but the kernel's OOM killer sends SIGKILL here
    if failure:
        return str(failure["kind"])
    if facts["finished"] and exit_code == 0:
        return "done"
    return "crashed"


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TAIL))
    return output.read().decode("utf-8", "replace")


def _environment(scratch: str, name: str) -> dict[str, str]:
    """Return the container's environment for a job: caches in ``scratch``, offline.

    Counting sees no GPU, also if there is one: answers are compared between machines.
    """
    kept = {one: value for one, value in os.environ.items() if not one.endswith(ELSEWHERE)}
    counts = kind_of(name) == "tokens"
    return {
        **kept,
        **({"CUDA_VISIBLE_DEVICES": ""} if counts else {}),
        "HOME": scratch,
        "TMPDIR": scratch,
        "XDG_CACHE_HOME": scratch,
        "HF_HOME": scratch,
        "NUMBA_CACHE_DIR": scratch,
        "MPLCONFIGDIR": scratch,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
