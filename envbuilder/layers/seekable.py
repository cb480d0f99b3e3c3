"""A file made of pieces that lie elsewhere, so that zipfile can look into it without a copy."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import BinaryIO

_BLOCK = 1 << 16


class _Pieces(io.RawIOBase):
    def __init__(self, size: int, read_at: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._read_at = read_at
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed: any buffer
        wanted = max(0, min(len(buffer), self._size - self._position))
        data = self._read_at(self._position, wanted) if wanted else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def seekable(size: int, read_at: Callable[[int, int], bytes]) -> BinaryIO:
    """Return a file of ``size`` bytes that calls ``read_at(offset, size)`` for what is read of it.

    It asks for 64 KiB and more at a time; ``read_at`` may give less than was asked for.
    """
    return io.BufferedReader(_Pieces(size, read_at), _BLOCK)
