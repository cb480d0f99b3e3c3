"""Locks between threads and processes, which the kernel frees when their holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from envbuilder.model.owner import give

from .temporary import same_file

_BLINK = 0.2  # seconds between two tries


def take(path: Path, waiting: Callable[[], None] | None) -> BinaryIO:
    """Take the lock on the file ``path``, which is made; ``waiting`` is called meanwhile.

    To close what this returns is to give the lock back. Raises OSError.
    """
    while True:
        file = path.open("wb")
        try:
            give(path, fd=file.fileno())
            _wait(file, waiting)
            if same_file(file.fileno(), path):  # else it was removed while we waited: once more
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def remove_free(folder: Path) -> None:
    """Remove the lock files in ``folder`` that nobody holds."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError, PermissionError), path.open("rb") as file:
            if _free(file):
                path.unlink()


def _wait(lock: BinaryIO, waiting: Callable[[], None] | None) -> None:
    while waiting is not None and not _free(lock):
        waiting()
        time.sleep(_BLINK)
    fcntl.flock(lock, fcntl.LOCK_EX)  # it is ours already where we were `waiting`


def _free(lock: BinaryIO) -> bool:
    """Take the lock if nobody holds it, and say whether that was so."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
