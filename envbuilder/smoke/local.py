"""Run commands with a Python of this machine instead of a container (``--local PYTHON``)."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.errors import MissingToolError
from envbuilder.runtime import Command, Completed

from .probe.supervise import SEEN

PASSED = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS"),
    *("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    *SEEN,
)
"""Variables of this machine that the interpreter sees: none that may hold a token or a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPython:
    """A runner for :func:`.run.smoke` that starts ``python`` right here, without any cage.

    A mount's target in a command's arguments or input (JSON) stands for its source. Of the
    environment here only :data:`PASSED` goes on. ``memory`` (bytes) bounds the writable data of
    each process. The network is not cut off.
    """

    python: str

    def run(self, command: Command) -> Completed:
        """Run ``command`` with its first argument replaced by this interpreter."""
        places = {mount.target: str(mount.source) for mount in command.mounts}
        args = [self._executable(), *(places.get(one, one) for one in command.args[1:])]
        stdin = command.stdin
        for target, source in places.items():
            stdin = stdin.replace(target.encode(), json.dumps(source)[1:-1].encode())
        started = time.monotonic()
        process = subprocess.Popen(
            args,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **{name: os.environ[name] for name in PASSED if name in os.environ},
                **command.env,
            },
            start_new_session=True,
            preexec_fn=_limiter(command.memory),  # noqa: PLW1509 - sets one limit, takes no lock
        )
        timed_out = False
        try:
            stdout, stderr = process.communicate(stdin, timeout=command.timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
        except BaseException:  # Ctrl-C: the probe must not outlive us
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        code = process.returncode
        return Completed(
            exit_code=code if code >= 0 else 128 - code,
            stdout=stdout,
            stderr=stderr,
            seconds=time.monotonic() - started,
            peak_memory=None,
            timed_out=timed_out,
            memory_limit="rlimit" if command.memory else "none",
        )

    def _executable(self) -> str:
        found = shutil.which(self.python)
        if found is None:
            raise MissingToolError(
                f"{self.python} is not a Python that can be run",
                hint="--local takes an interpreter, for example .venv/bin/python",
            )
        # Not resolved: a virtual environment's python is a link to another installation's.
        return str(Path(found).absolute())


def _limiter(memory: int | None) -> Callable[[], None] | None:
    if memory is None:
        return None
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
