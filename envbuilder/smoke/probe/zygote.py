"""A process that has imported torch and transformers, or vLLM, once, and forks for each job.

Their import takes longer than most jobs. A job is still a process of its own, with its own group,
memory and end. A zygote in which a library has started a thread or asked for a GPU, and one whose
libraries cannot be imported, ends: every job then runs alone, and says itself what is wrong.

Supervisor and zygote talk over a socket. A request names the job and carries four files: the
request, the job's facts, its output, and a pipe, into which a keeper writes the process id, then
how the process ended.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import IO

from . import job
from .facts import Facts

FORKED = {
    "tokens": ("architecture", "sent", "tokens."),
    "engine": ("engine.vllm", "engine.tight"),
}
"""How the names of jobs begin that each kind of zygote may fork."""
MODULES = {
    "tokens": ("numpy", "torch", "transformers"),
    "engine": ("vllm.engine.arg_utils", "vllm.multimodal"),
}
CLASSES = ("AutoConfig", "AutoProcessor", "GenerationMixin", "PreTrainedModel")
"""What every such job takes of transformers, which imports its parts when they are asked for."""
READY = b"ready"
LONGEST = 4096
"""Bytes of a message: a name."""


def kind_of(name: str) -> str:
    """Return the kind of zygote that may fork the job ``name``; "" if it runs alone."""
    return next((kind for kind, starts in FORKED.items() if name.startswith(starts)), "")


def serve(kind: str, descriptor: int) -> int:
    """Import what ``kind`` needs, then fork a keeper for each message; return the exit code."""
    job.die_with_parent()
    channel = socket.socket(fileno=descriptor)
    for name in MODULES[kind]:
        importlib.import_module(name)
    for name in CLASSES:
        getattr(importlib.import_module("transformers"), name)
    if not _may_fork():
        return 1
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers need not be waited for
    channel.send(READY)
    while True:
        message, files, _, _ = socket.recv_fds(channel, LONGEST, 4)
        if not message:
            return 0
        if os.fork() == 0:
            channel.close()
            return _keep(message.decode(), *files)
        for file in files:
            os.close(file)


def _may_fork() -> bool:
    """Return whether what was imported would still be whole in a forked process."""
    cuda = getattr(importlib.import_module("torch"), "cuda", None)
    return threading.active_count() == 1 and not (cuda and cuda.is_initialized())


def _keep(name: str, request: int, facts: int, output: int, ending: int) -> int:
    """Fork the job ``name`` and tell ``ending`` how it ends; in the job, return its exit code."""
    job.die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(ending)
        return _work(name, request, facts, output)
    _tell(ending, pid=pid)
    _, status, usage = os.wait4(pid, 0)
    _tell(ending, exit_code=os.waitstatus_to_exitcode(status), peak_memory=usage.ru_maxrss * 1024)
    os._exit(0)  # nothing of the libraries has to be taken down here


def _work(name: str, request: int, facts: int, output: int) -> int:
    os.setsid()
    for standard in (1, 2):
        os.dup2(output, standard)
    with os.fdopen(request, encoding="utf-8") as stream:
        return job.run(name, facts, json.load(stream))


def _tell(pipe: int, **line: int) -> None:
    os.write(pipe, json.dumps(line).encode() + b"\n")


class Zygote:
    """The supervisor's side: starts the process when it is first asked for."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._here, self._there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._fit: bool | None = None
        self._process = subprocess.Popen(
            [*command, str(self._there.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._there.fileno()],
            env=environment,
            start_new_session=True,
        )
        self._there.close()

    def fits(self, timeout: float) -> bool:
        """Wait at most ``timeout`` (s) for the libraries; return whether jobs can be forked."""
        with self._lock:
            if self._fit is None:
                readable, _, _ = select.select([self._here], [], [], max(0.0, timeout))
                self._fit = bool(readable) and self._here.recv(LONGEST) == READY
            return self._fit

    def run(
        self, name: str, request: Facts, facts: IO[bytes], output: IO[bytes], timeout: float
    ) -> int | None:
        """Run the job ``name``; return its exit code, or None if it was killed after ``timeout``.

        A job whose keeper is gone was killed by the kernel for want of memory.
        """
        until = time.monotonic() + timeout
        reading, ending = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as pipe, tempfile.TemporaryFile() as asked:
            asked.write(json.dumps(request).encode())
            asked.seek(0)
            files = [asked.fileno(), facts.fileno(), output.fileno(), ending]
            try:
                with self._lock:
                    socket.send_fds(self._here, [name.encode()], files)
            except OSError:
                return -signal.SIGKILL  # the zygote itself is gone
            finally:
                os.close(ending)
            begun = _told(pipe, timeout)
            ended = _told(pipe, until - time.monotonic()) if begun else begun
            if ended is None and begun:
                os.killpg(begun["pid"], signal.SIGKILL)
            if ended is None:
                return None
        return int(ended.get("exit_code", -signal.SIGKILL))

    def close(self) -> None:
        """End the process, and with it what is left of keepers and their jobs."""
        self._here.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _told(pipe: IO[bytes], timeout: float) -> Facts | None:
    """Return the next line of a keeper, {} if it is gone, None after ``timeout`` (s)."""
    line = b""
    until = time.monotonic() + timeout
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        if not readable:
            return None
        found = pipe.read(1)
        if not found:
            return {}
        line += found
    told: Facts = json.loads(line)
    return told
