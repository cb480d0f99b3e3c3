"""Temporary files and directories that never outlive their process, kill -9 included.

Whoever makes one holds an flock on it, which the kernel drops when the process ends; an unlocked
one is therefore abandoned and may be removed. Process ids would not do: containers that share a
store do not share process ids.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from envbuilder.model.errors import BuildError, DiskFullError
from envbuilder.model.owner import give, make_folder

_FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSALS = (
    *_FULL, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM,
)  # fmt: skip
"""What this machine refuses, whatever is asked of it: room, permission, descriptors, memory."""
_CURE = (
    "run `envbuilder cache prune`, or set ENVBUILDER_CACHE elsewhere",
    "or set ENVBUILDER_CACHE to a folder you may write to",
)


@dataclass(slots=True, kw_only=True)
class Temporary:
    """A locked temporary file or directory at ``path``; ``keep_as`` makes it permanent."""

    path: Path
    _fd: int
    _kept: bool = False

    @classmethod
    @contextmanager
    def create(cls, folder: Path, kind: str, *, directory: bool) -> Iterator[Self]:
        """Make one in ``folder``, named after ``kind``; remove it at the end unless it was kept."""
        with translated(folder):
            made = cls._locked(folder, kind, directory=directory)
        try:
            yield made
        finally:
            try:
                if not made._kept:
                    _remove(made.path)
            finally:
                os.close(made._fd)

    @classmethod
    def _locked(cls, folder: Path, kind: str, *, directory: bool) -> Self:
        while True:
            path = folder / f"{kind}-{secrets.token_hex(8)}"
            if directory:
                path.mkdir(mode=0o700)
            with suppress(FileNotFoundError):  # another process took it for abandoned: once more
                flags = os.O_RDONLY | os.O_DIRECTORY if directory else os.O_RDWR | os.O_CREAT
                fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
                fcntl.flock(fd, fcntl.LOCK_EX)
                if not directory:
                    give(path, fd=fd)
                if same_file(fd, path):
                    return cls(path=path, _fd=fd)
                os.close(fd)

    def keep_as(self, target: Path) -> None:
        """Sync the file and give it its lasting name, read-only; replaces what stood there."""
        make_folder(target.parent, mode=0o700)
        give(target, fd=self._fd)
        os.fsync(self._fd)
        os.fchmod(self._fd, 0o444)
        self.path.replace(target)
        self._kept = True


@contextmanager
def work_folder(kind: str, place: Path | None = None) -> Iterator[Path]:
    """Lend an empty folder at ``place``, else where temporary files go, for the block's time.

    What dead processes of this user left of the same ``kind`` there goes first. Where temporary
    files go, kinds begin with "envbuilder-": see :func:`remove_abandoned_work`.
    """
    folder = place or Path(tempfile.gettempdir())
    with translated(folder):
        remove_abandoned(folder, re.escape(kind))
    with Temporary.create(folder, kind, directory=True) as temporary:
        yield temporary.path


def remove_abandoned_work() -> None:
    """Remove all work folders that dead processes of this user left where temporary files go."""
    with suppress(OSError):  # whoever needs a folder there will say what is wrong with the place
        remove_abandoned(Path(tempfile.gettempdir()), "envbuilder-[a-z]+")


def remove_abandoned(
    folder: Path, kind: str | None = None, *, remove: Callable[[Path], None] | None = None
) -> None:
    """Remove what dead processes of this user left in ``folder``, of one ``kind`` or of all.

    ``kind`` is a regular expression. ``remove`` knows more than the files of this user.
    """
    wanted = re.compile(rf"{'.*' if kind is None else kind}-[0-9a-f]{{16}}")
    for path in [path for path in folder.iterdir() if wanted.fullmatch(path.name)]:
        with suppress(FileNotFoundError, PermissionError):  # its owner was faster, or is another
            _remove_if_abandoned(path, remove or _remove)


def _remove_if_abandoned(path: Path, remove: Callable[[Path], None]) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # gone, another user's, or a link, which nobody here makes
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # its owner lives
    else:
        if _ours(fd, path.parent) and same_file(
            fd, path
        ):  # an owner may have given it its lasting name meanwhile
            remove(path)
    finally:
        os.close(fd)


def _ours(fd: int, folder: Path) -> bool:
    """Return whether a file in ``folder`` is this user's, or the folder's owner's as all in it."""
    owner, place = os.fstat(fd).st_uid, folder.stat()
    shared = place.st_mode & stat.S_ISVTX  # as /tmp: what lies there is its maker's alone
    return owner == os.geteuid() or (owner == place.st_uid and not shared)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all in it, read-only folders included, which only root could empty."""
    if os.geteuid() == 0:  # which a link that somebody puts there meanwhile shall not lead astray
        shutil.rmtree(folder)
        return
    folder.chmod(0o700)
    for place, folders, _ in os.walk(folder):
        for name in folders:
            inner = Path(place, name)
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder)


@contextmanager
def translated(place: Path, *, cure: tuple[str, str] = _CURE) -> Iterator[None]:
    """Turn the operating system's refusals to write at ``place`` into BuildError with a hint.

    ``cure`` says what else helps: where room is lacking, and where permission is.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or place
        if error.errno in _FULL:
            raise _full(place, cure[0]) from error
        raise BuildError(
            f"cannot write at {where}: {error.strerror}", hint=f"check its permissions, {cure[1]}"
        ) from error


@contextmanager
def full_disk_told(place: Path) -> Iterator[None]:
    """Turn a full disk into DiskFullError, where the error names no file that lies elsewhere."""
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or place
        if error.errno in _FULL and Path(os.fsdecode(where)).is_relative_to(place):
            raise _full(place, _CURE[0]) from error
        raise


def _full(place: Path, cure: str) -> DiskFullError:
    return DiskFullError(f"the disk that holds {place} is full", hint=f"free some space, {cure}")


def same_file(fd: int, path: Path) -> bool:
    """Return whether ``path`` still is the open file ``fd``."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
