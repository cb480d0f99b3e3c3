"""What a command writes, kept within bounds: in memory, or in a log file as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

OUTPUT_LIMIT = 64 << 20
"""Bytes kept of each output stream; a command that floods is drained, not stopped."""

_TAIL = 1 << 16  # bytes; a build says last why it failed


class Output(Protocol):
    """Takes the pieces of a stream; ``truncated`` once it has left some out.

    ``data`` is what it keeps in memory.
    """

    data: bytearray
    truncated: bool

    def add(self, piece: bytes) -> None:
        """Take the next piece."""


class Kept:
    """The first ``limit`` bytes, in memory."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.truncated = False
        self._limit = limit

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        room = self._limit - len(self.data)
        self.data += piece[:room]
        self.truncated = self.truncated or len(piece) > room


class Log:
    """The first ``limit`` bytes in a file at once, and the last ones when all is said.

    What cannot be written, as on a full disk, is an error when the log is closed: until then a
    command can run to its end.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.data = bytearray()
        self.truncated = False
        self._file = path.open("ab", buffering=0)
        self._room = limit
        self._tail = bytearray()
        self._left_out = 0
        self._error: OSError | None = None

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        head, rest = piece[: self._room], piece[self._room :]
        self._write(head)
        self._room -= len(head)
        self.truncated = self.truncated or bool(rest)
        self._tail += rest
        over = max(0, len(self._tail) - _TAIL)
        del self._tail[:over]
        self._left_out += over

    def close(self) -> None:
        """Write the end; raise OSError if something could not be written."""
        if self._left_out:
            self._write(b"\n[%d bytes are left out here]\n" % self._left_out)
        self._write(bytes(self._tail))
        self._file.close()
        if self._error:
            raise self._error

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left and self._error is None:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            self._error = error


@contextmanager
def outputs(log: Path | None, limit: int = OUTPUT_LIMIT) -> Iterator[tuple[Output, Output]]:
    """Lend what takes standard output and standard error: two memories, or one log for both."""
    if log is None:
        yield Kept(limit), Kept(limit)
        return
    shared = Log(log, limit)
    try:
        yield shared, shared
    finally:
        shared.close()
