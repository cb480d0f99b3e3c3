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
from .room import LOOK, Room

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """What a program wrote, and whether its time or its room on the disk was over."""

    stdout: bytes
    stderr: bytes
    truncated: bool
    timed_out: bool
    out_of_disk: bool = False


def pump(
    arguments: Sequence[str],
    *,
    stdin: bytes,
    timeout: float,
    limit: int,
    log: Path | None = None,
    pass_fds: Iterable[int] = (),
    room: Room | None = None,
) -> ProgramResult:
    """Run a program while there is ``room``, for at most ``timeout`` seconds, in its own session.

    Keeps the first ``limit`` bytes of each output, or of both in the file ``log``, and drops the
    rest, so that a flood fills neither memory nor disk and does not block the program. When this
    returns or raises, the program is dead and so are its children and everybody who held its
    outputs.
    """
    deadline = time.monotonic() + timeout
    room = room or Room(())
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
            ended = pipes.serve(deadline, room) and _ended(process, deadline, room)
            full = not room.left()
        finally:
            _kill(process)
            pipes.drain()
        return pipes.outcome(timed_out=not ended and not full, out_of_disk=full)


def _ended(process: subprocess.Popen[bytes], deadline: float, room: Room) -> bool:
    """Wait for the end; False if the time or the room was over before."""
    while (left := deadline - time.monotonic()) > 0 and room.left():
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(left, LOOK))
            return True
    return process.poll() is not None


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

    def serve(self, deadline: float, room: Room) -> bool:
        """Move bytes until every pipe is done; False if the time or the room was over before."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._feed.stream, selectors.EVENT_WRITE, self._feed.move)
            for drain in (self._stdout, self._stderr):
                selector.register(drain.stream, selectors.EVENT_READ, drain.move)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0 or not room.left():
                    return False
                for key, _ in selector.select(min(left, LOOK)):
                    if key.data():
                        selector.unregister(key.fileobj)
        return True

    def drain(self) -> None:
        """Wait until nobody holds the outputs any more."""
        for drain in (self._stdout, self._stderr):
            while not drain.move():
                pass

    def outcome(self, *, timed_out: bool, out_of_disk: bool) -> ProgramResult:
        return ProgramResult(
            stdout=bytes(self._stdout.into.data),
            stderr=bytes(self._stderr.into.data),
            truncated=self._stdout.into.truncated or self._stderr.into.truncated,
            timed_out=timed_out,
            out_of_disk=out_of_disk,
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
