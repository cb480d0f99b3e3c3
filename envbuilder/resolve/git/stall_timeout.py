"""Servers that take a connection and never say a word: git would wait for them for ever."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LONGEST = 600.0
"""Seconds without a word, after which a server has hung; the slowest show progress every second."""


class Patient:
    """What ``process``, a running git, says on ``stream``; the end of both where it says nothing.

    ``hung`` tells whether that was so.
    """

    def __init__(self, process: subprocess.Popen[bytes], stream: BinaryIO) -> None:
        self._process = process
        self._stream = stream
        self.hung = False

    def read1(self, size: int) -> bytes:
        """Return what has come, up to ``size`` bytes; nothing at the end."""
        if not select.select([self._stream], [], [], LONGEST)[0]:
            self.hung = True
            _kill(self._process)
            return b""
        piece: bytes = self._stream.read1(size)  # type: ignore[attr-defined] # a BufferedReader
        return piece

    def read(self) -> bytes:
        """Return all that comes."""
        return b"".join(iter(lambda: self.read1(1 << 16), b""))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill git and what speaks to the server for it (ssh), which would outlive it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended by itself
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    process.kill()
