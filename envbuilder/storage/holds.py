"""Holds: what somebody works on, which nobody may take away meanwhile.

A hold is a shared lock on one byte of the file ``held``, at a place that the digest of the
held thing names: a file for each layer would take hundreds of descriptors. The lock is the open
file's (fcntl(2), "open file description locks"): two threads are two, and the kernel frees it when
the holder dies. Two things at one place are held together, which takes nothing away from anybody.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envbuilder.model.owner import give, make_folder
from envbuilder.model.reference import Digest

from .temporary import translated

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid
_PLACE_DIGITS = 15  # hex digits of a digest, so that each place fits into off_t
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class Holds:
    """The holds of all processes on what lies beside the file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def of(self, things: Iterable[Digest]) -> Iterator[None]:
        """Hold ``things`` for the block's time; waits only while one of them is being removed.

        Where nothing may be written, nothing can be removed, and nothing is held. Raises BuildError
        if the disk is full.
        """
        file = self._open()
        if file is None:
            yield
            return
        try:
            for thing in things:
                _ask(file, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, thing)
            yield
        finally:
            os.close(file)

    def held(self, things: Iterable[Digest]) -> set[Digest]:
        """Return which of ``things`` are held right now."""
        file = self._open()
        if file is None:
            return set()
        try:
            return {
                thing
                for thing in things
                if _ask(file, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, thing) != fcntl.F_UNLCK
            }
        finally:
            os.close(file)

    @contextmanager
    def unless_held(self, thing: Digest) -> Iterator[bool]:
        """Yield whether nobody holds ``thing``; then nobody can take hold of it in the block."""
        file = self._open()
        if file is None:
            yield True
            return
        try:
            yield _taken(file, thing)
        finally:
            os.close(file)

    def _open(self) -> int | None:
        """Open the file, which is made if need be; None where it may not be written."""
        try:
            make_folder(self._path.parent, mode=0o700)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in _READ_ONLY:
                return None
            with translated(self._path):
                raise
        give(self._path, fd=file)
        return file


def _taken(file: int, thing: Digest) -> bool:
    """Take ``thing`` for ourselves if nobody holds it, and say whether that was so."""
    try:
        _ask(file, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, thing)
    except BlockingIOError:
        return False
    return True


def _ask(file: int, command: int, kind: int, thing: Digest) -> int:
    """Ask the kernel for a lock of ``kind``; return the kind that it answers."""
    place = int(thing.hex[:_PLACE_DIGITS], 16)
    asked = struct.pack(_FLOCK, kind, os.SEEK_SET, place, 1, 0)
    return int(struct.unpack(_FLOCK, fcntl.fcntl(file, command, asked))[0])
