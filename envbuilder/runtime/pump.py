"""Run a program: feed it and drain it at the same time, until it ends or its time is up."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .output import Output, outputs

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """What a program wrote, and whether it was killed for still running at its deadline."""

    stdout: bytes
    stderr: bytes
    truncated: bool
    timed_out: bool


def pump(
    arguments: Sequence[str],
    *,
    stdin: bytes,
    timeout: float,
    limit: int,
    log: Path | None = None,
    pass_fds: Iterable[int] = (),
) -> ProgramResult:
    """Run a program to its end, for at most ``timeout`` seconds, in a session of its own.

    Keeps the first ``limit`` bytes of each output, or of both in the file ``log``, and drops the
    rest, so that a flood fills neither memory nor disk and does not block the program. When this
    returns or raises, the program is dead and so are its children and everybody who held its
    outputs.
    """
    deadline = time.monotonic() + timeout
    with (
        outputs(log, limit) as streams,
        subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            start_new_session=True,  # Ctrl-C on our terminal is ours to handle
        ) as process,
    ):
        pipes = _Pipes(process, stdin=stdin, outputs=streams)
        try:
            ended = pipes.serve(deadline) and _ended(process, deadline)
        finally:
            _kill(process)
            pipes.drain()
        return pipes.outcome(timed_out=not ended)


def _ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill ``process`` if it still runs, by its children if it has any.

    It then ends by itself once they are gone; killed first, it would leave their last moments
    to nobody.
    """
    if process.poll() is not None:
        return
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = children.read_text().split() if children.exists() else []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    if not pids:
        process.kill()


class _Pipes:
    """The three pipes of a process, served together."""

    def __init__(
        self, process: subprocess.Popen[bytes], *, stdin: bytes, outputs: tuple[Output, Output]
    ) -> None:
        if not (process.stdin and process.stdout and process.stderr):
            raise ValueError("all three streams must be pipes")
        self._feed = _Feed(process.stdin, stdin)
        self._stdout = _Drain(process.stdout, outputs[0])
        self._stderr = _Drain(process.stderr, outputs[1])

    def serve(self, deadline: float) -> bool:
        """Move bytes until every pipe is done; False if the deadline came first."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._feed.stream, selectors.EVENT_WRITE, self._feed.move)
            for drain in (self._stdout, self._stderr):
                selector.register(drain.stream, selectors.EVENT_READ, drain.move)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                for key, _ in selector.select(left):
                    if key.data():
                        selector.unregister(key.fileobj)
        return True

    def drain(self) -> None:
        """Wait until nobody holds the outputs any more."""
        for drain in (self._stdout, self._stderr):
            while not drain.move():
                pass

    def outcome(self, *, timed_out: bool) -> ProgramResult:
        return ProgramResult(
            stdout=bytes(self._stdout.into.data),
            stderr=bytes(self._stderr.into.data),
            truncated=self._stdout.into.truncated or self._stderr.into.truncated,
            timed_out=timed_out,
        )


class _Feed:
    """Writes what the pipe takes; done when all is written or nobody reads."""

    def __init__(self, stream: IO[bytes], data: bytes) -> None:
        self.stream = stream
        self._left = memoryview(data)
        os.set_blocking(stream.fileno(), False)

    def move(self) -> bool:
        try:
            self._left = self._left[os.write(self.stream.fileno(), self._left[:_CHUNK]) :]
        except BrokenPipeError:  # a program may end without reading its input
            self._left = self._left[:0]
        if self._left:
            return False
        with suppress(BrokenPipeError):
            self.stream.close()
        return True


class _Drain:
    """Hands on what comes from a stream; done at its end."""

    def __init__(self, stream: IO[bytes], into: Output) -> None:
        self.stream = stream
        self.into = into

    def move(self) -> bool:
        piece = os.read(self.stream.fileno(), _CHUNK)
        self.into.add(piece)
        return not piece
