"""Locks between threads and processes, which the kernel frees when their holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from envbuilder.model.owner import give

_BLINK = 0.2  # seconds between two tries


@contextmanager
def holding(file: BinaryIO, waiting: Callable[[], None] | None) -> Iterator[None]:
    """Hold the lock on ``file``, and close it at the end; ``waiting`` is called meanwhile."""
    with file:
        give(Path(file.name), fd=file.fileno())
        while waiting is not None and not _free(file):
            waiting()
            time.sleep(_BLINK)
        fcntl.flock(file, fcntl.LOCK_EX)  # it is ours already where we were `waiting`
        yield


def _free(lock: BinaryIO) -> bool:
    """Take the lock if nobody holds it, and say whether that was so."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
