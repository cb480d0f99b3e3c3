"""Which GPUs compiled code is for, read from the fat binaries inside shared libraries.

nvcc puts one "fatbin" per object file into ``.nv_fatbin``: a header, then entries of machine code
(cubin) or PTX, each naming its architecture. NVIDIA publishes no description; the layout is what
``cuobjdump`` reads and CUDA's own loader has kept since 2012. The letter of sm_90a is not in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

MAGIC = bytes.fromhex("50ed55ba")
_HEAD = struct.Struct("<HHQ")  # after the magic: version, size of this header, size of all entries
_ENTRY = struct.Struct("<HHIQIIII")  # kind, version, header size, payload size, …, architecture
_KINDS = {1: "compute", 2: "sm"}
_PLAUSIBLE = range(10, 1000)


def architectures(pieces: Iterable[bytes]) -> frozenset[str]:
    """Return what a library, given in pieces, holds code for: ``sm_90``, or as PTX ``compute_90``.

    Memory stays near the size of a piece.
    """
    stream, found = _Stream(iter(pieces)), set()
    while stream.find(MAGIC):
        head = stream.take(_HEAD.size)
        if len(head) < _HEAD.size or head[:4] != b"\x01\x00\x10\x00":
            stream.back(len(head))  # the four bytes of the magic, by chance
            continue
        found |= set(_entries(stream, _HEAD.unpack(head)[2]))
    return frozenset(found)


def _entries(stream: _Stream, left: int) -> Iterator[str]:
    while left >= _ENTRY.size:
        head = stream.take(_ENTRY.size)
        if len(head) < _ENTRY.size:
            return
        kind, _, header, payload, *_, architecture = _ENTRY.unpack(head)
        if kind not in _KINDS or header < _ENTRY.size or architecture not in _PLAUSIBLE:
            return
        yield f"{_KINDS[kind]}_{architecture}"
        stream.skip(header - _ENTRY.size + payload)
        left -= header + payload


class _Stream:
    """Pieces of bytes, read in order."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""
        self._at = 0

    def find(self, sign: bytes) -> bool:
        """Go to just behind the next ``sign``; say whether there is one."""
        while (place := self._held.find(sign, self._at)) < 0:
            self._at = max(self._at, len(self._held) - len(sign) + 1)  # it may straddle two pieces
            if not self._more():
                return False
        self._at = place + len(sign)
        return True

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end."""
        while len(self._held) - self._at < count and self._more():
            pass
        taken = self._held[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def back(self, count: int) -> None:
        """Return back the last ``count`` bytes that were taken."""
        self._at -= count

    def skip(self, count: int) -> None:
        """Go ``count`` bytes on."""
        while (held := len(self._held) - self._at) < count:
            count -= held
            self._at = len(self._held)
            if not self._more():
                return
        self._at += count

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._held = self._held[self._at :] + piece
        self._at = 0
        return True
