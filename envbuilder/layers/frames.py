"""Frames of zstd, one after the other in a blob, and packed side by side on several cores.

A frame stands for itself: whoever knows where it begins may unpack it alone. zstandard is pinned to
one version, and each frame is packed by one thread in one call, so equal input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from zstandard import ZSTD_VERSION, ZstdCompressor

LEVEL = 2
"""About as small as the deflate streams of wheels; higher ones cost more than they save."""
CODEC = f"zstd {'.'.join(map(str, ZSTD_VERSION))} level {LEVEL}"
"""What the bytes of frames depend on."""
PIECE = 4 << 20
"""The most bytes of content that one frame holds."""
_WINDOW = 4 * PIECE  # of content that waits to be written: bounds the memory of one layer
_SMALL = 1 << 17  # bytes; to pack or to write fewer takes less time than to hand them over


Packed = tuple[bytes, str]
"""A frame, and the hash of what it holds."""


class _Own(threading.local):
    """Each thread's compressor: setting one up takes longer than packing a small file."""

    def __init__(self) -> None:
        self.zstd = ZstdCompressor(level=LEVEL)


_OWN = _Own()


@dataclass(slots=True)
class Piece:
    """What one frame holds: ``size`` bytes, and their hash; ``offset`` once it is written."""

    size: int
    digest: str = ""
    offset: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    size: int
    action: Callable[[], object]
    running: Future[Packed] | None

    @property
    def ready(self) -> bool:
        return self.running is None or self.running.done()


class Frames:
    """Frames on their way into ``out``, packed in the threads of ``pool``; ``size`` bytes so far.

    Neither is ended here: what is put after a failure is nobody's business any more.
    """

    def __init__(self, out: Callable[[bytes], object], pool: Executor) -> None:
        self.size = 0
        self._out = out
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._held = 0
        self._small: list[bytes] = []
        self._small_size = 0

    def put(self, plain: bytes) -> Piece:
        """Append a frame that holds ``plain``; wait while too much is still to be packed."""
        piece = Piece(size=len(plain))
        if len(plain) < _SMALL:
            packed = _packed(plain)
            self._wait(len(plain), lambda: self._write(piece, packed))
        else:
            running = self._pool.submit(_packed, plain)
            self._wait(len(plain), lambda: self._write(piece, running.result()), running)
        return piece

    def then(self, action: Callable[[], object]) -> None:
        """Do ``action`` once everything that was put before is written."""
        self._wait(0, action)

    def skippable(self, data: bytes) -> int:
        """Write ``data`` in a frame that unpacking passes over; return where ``data`` begins."""
        self.finish()
        head = b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little")
        at = self.size + len(head)
        self._append(head + data)
        self._flush()
        return at

    def finish(self) -> None:
        """Wait until all is written."""
        while self._waiting:
            self._next()
        self._flush()

    def _wait(
        self, size: int, action: Callable[[], object], running: Future[Packed] | None = None
    ) -> None:
        self._waiting.append(_Waiting(size=size, action=action, running=running))
        self._held += size
        while self._waiting and (self._held > _WINDOW or self._waiting[0].ready):
            self._next()

    def _next(self) -> None:
        waiting = self._waiting.popleft()
        waiting.action()
        self._held -= waiting.size

    def _write(self, piece: Piece, packed: Packed) -> None:
        data, piece.digest = packed
        piece.offset = self.size
        self._append(data)

    def _append(self, data: bytes) -> None:
        """Write ``data``; small ones go together, since each write has its price."""
        self.size += len(data)
        self._small.append(data)
        self._small_size += len(data)
        if self._small_size >= _SMALL:
            self._flush()

    def _flush(self) -> None:
        if self._small:
            self._out(b"".join(self._small))
            self._small.clear()
            self._small_size = 0


class PackedText:
    """A long text that is packed as it grows: ``size`` bytes so far."""

    def __init__(self) -> None:
        self.size = 0
        self._zstd = ZstdCompressor(level=LEVEL).compressobj()
        self._packed: list[bytes] = []

    def write(self, text: bytes) -> None:
        """Append ``text``."""
        self.size += len(text)
        self._packed.append(self._zstd.compress(text))

    def finish(self) -> bytes:
        """Return the one frame that holds all of it."""
        return b"".join((*self._packed, self._zstd.flush()))


def _packed(plain: bytes) -> Packed:
    return _OWN.zstd.compress(plain), f"sha256:{hashlib.sha256(plain).hexdigest()}"
