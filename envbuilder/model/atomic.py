"""Files that are written whole or not at all, whoever else writes them and whatever is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .owner import give, make_folder


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``; see :func:`replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Lend an empty file that takes the place of ``path`` at the end of the block, at once.

    A file keeps its mode, and a link leads to the new bytes; what root writes belongs to the owner
    of the file that was there, else of its folder. An error inside the block changes nothing.
    Raises OSError that names ``path`` if the system refuses to write there.
    """
    path = path.resolve()
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.new")  # so that a killed writer leaves one at most
    try:
        with _held(temporary) as file:
            _take_after(path, file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        if error.filename not in {None, str(temporary)}:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _take_after(path: Path, fd: int) -> None:
    """Give the new file the owner and the mode that the old one has."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        give(path, fd=fd)
        os.fchmod(fd, 0o644)
        return
    if os.geteuid() == 0:
        os.fchown(fd, facts.st_uid, facts.st_gid)
    os.fchmod(fd, facts.st_mode & 0o777)


@contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` to write it anew, one process at a time; without success it goes again."""
    while True:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(path, file):
                continue  # it got its lasting name between our open and our lock
            try:
                file.truncate(0)
                yield file
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
