"""A tar stream into a gzip blob, compressed by every core in pieces that do not depend on them.

Each piece of the tar becomes one gzip member (RFC 1952, 2.2), so that the result is the same for
any number of threads. It depends on zlib's compressor, as the plain tar's digest does not.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from envbuilder.model.reference import Digest
from envbuilder.storage.stream import Writer

PIECE = 1 << 20
# Measured on a root file system of 1.2 GB: level 6 takes 1.6 times as long to save 1 % more.
LEVEL = 5


class Compressor:
    """Takes a tar in pieces of any length; ``diff_id`` names all that was written."""

    def __init__(self, out: Writer, pool: ThreadPoolExecutor) -> None:
        self._out = out
        self._pool = pool
        self._hash = hashlib.sha256()
        self._piece = bytearray()
        self._running: deque[Future[bytes]] = deque()
        self._window = 4 * (os.cpu_count() or 1)  # pieces in memory

    @property
    def diff_id(self) -> Digest:
        """The digest of the plain tar so far."""
        return Digest(self._hash.hexdigest())

    def write(self, data: bytes) -> None:
        """Append ``data`` to the tar."""
        self._hash.update(data)
        self._piece += data
        while len(self._piece) >= PIECE:
            self._start(bytes(self._piece[:PIECE]))
            del self._piece[:PIECE]

    def flush(self) -> None:
        """Compress and write out all that is left."""
        if self._piece:
            self._start(bytes(self._piece))
            self._piece.clear()
        self._collect(0)

    def _start(self, piece: bytes) -> None:
        self._running.append(self._pool.submit(_member, piece))
        self._collect(self._window)

    def _collect(self, left: int) -> None:
        while len(self._running) > left:
            self._out.write(self._running.popleft().result())


@contextmanager
def compressed(out: Writer) -> Iterator[Compressor]:
    """Compress into ``out`` within the block; everything is written when it ends well."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compressor = Compressor(out, pool)
        yield compressor
        compressor.flush()


def _member(piece: bytes) -> bytes:
    gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS, 9)
    return gzip.compress(piece) + gzip.flush()
