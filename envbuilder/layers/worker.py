"""A thread that takes pieces in order, so that hashing, inflating and writing overlap.

hashlib, isal and file writes let go of the interpreter lock, so workers really run at once.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

# Handing a piece over costs some 20 µs, so small ones travel together (bytes).
_BATCH = 1 << 18
# Pieces that may wait before a slow worker: bounds its memory to a few MiB.
_WAITING = 6


class Worker:
    """Call ``consume`` on all bytes put in, in order, in a thread; use as a context manager."""

    def __init__(self, consume: Callable[[bytes], object]) -> None:
        self._consume = consume
        self._small: list[bytes] = []
        self._small_size = 0
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def put(self, piece: bytes) -> None:
        """Hand over a piece; wait while the worker is behind; raise what ``consume`` raised."""
        if len(piece) >= _BATCH:
            self._flush()
            self._give(piece)
            return
        self._small.append(piece)
        self._small_size += len(piece)
        if self._small_size >= _BATCH:
            self._flush()

    def drain(self) -> None:
        """Wait until every piece is consumed and end the worker; raise what ``consume`` raised."""
        self._flush()
        self._stop()
        if self._error:
            raise self._error

    def _flush(self) -> None:
        if self._small_size:
            self._give(b"".join(self._small))
            self._small.clear()
            self._small_size = 0

    def _give(self, piece: bytes) -> None:
        if self._error:
            raise self._error
        self._pieces.put(piece)

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._error is None:
                try:
                    self._consume(piece)
                except BaseException as error:  # raised again in the owner's thread
                    self._error = error
