"""Files that came packed (gzip, bzip2, xz), as plain streams whose bytes count.

Their first bytes tell the packing. What comes out is counted by a budget, whoever reads it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import BinaryIO, cast

from .bounds import Budget

XZ_MEMORY = 72 << 20
"""Bytes that unpacking xz may take: what `xz -9` needs. A header may ask for 4 GiB."""
DAMAGES: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError, EOFError, OSError)
"""What reading a damaged one raises; gzip and bzip2 raise OSError."""

_PIECE = 1 << 16


def unpacked(stream: BinaryIO, budget: Budget) -> BinaryIO:
    """Return what is packed in the file ``stream``, or itself; ``budget`` counts what is read."""
    start = stream.read(_LONGEST)
    stream.seek(0)
    opener = next((each for magic, each in _PACKED.items() if start.startswith(magic)), None)
    plain = stream if opener is None else opener(stream)
    return counted(plain, budget)


def counted(plain: BinaryIO, budget: Budget) -> BinaryIO:
    """Return a stream whose bytes ``budget`` counts as they are read."""
    return cast("BinaryIO", io.BufferedReader(_Counted(plain, budget), _PIECE))


class _Counted(io.RawIOBase):
    def __init__(self, plain: BinaryIO, budget: Budget) -> None:
        super().__init__()
        self._plain = plain
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._plain.read(len(buffer))
        self._budget.content(len(data))
        buffer[: len(data)] = data
        return len(data)


class _Xz(io.RawIOBase):
    """One stream of xz after another; the library's own file has no limit of memory."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__()
        self._packed = packed
        self._pending = b""
        self._unpacking = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        plain = b""
        while not plain:
            if self._unpacking.eof and not self._next():
                return 0
            plain = self._unpacking.decompress(self._wanted(), len(buffer))
        buffer[: len(plain)] = plain
        return len(plain)

    def _next(self) -> bool:
        """Begin the next stream, if there is one; zeros may fill the file up."""
        rest = self._unpacking.unused_data or self._packed.read(_PIECE)
        self._pending = rest.lstrip(b"\0")
        if self._pending:
            self._unpacking = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
        return bool(self._pending)

    def _wanted(self) -> bytes:
        if not self._unpacking.needs_input:
            return b""
        data, self._pending = self._pending or self._packed.read(_PIECE), b""
        if not data:
            raise EOFError("the file ends in the middle of its packed bytes")
        return data


_PACKED: Mapping[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda stream: cast("BinaryIO", gzip.GzipFile(fileobj=stream)),
    b"BZh": lambda stream: cast("BinaryIO", bz2.BZ2File(stream)),
    b"\xfd7zXZ\x00": lambda stream: cast("BinaryIO", _Xz(stream)),
}
STARTS = tuple(_PACKED)
"""How a packed file begins."""
_LONGEST = max(map(len, STARTS))
