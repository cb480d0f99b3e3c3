"""Whose files are: what root makes among a user's files stays that user's.

One rule: what root makes gets the owner of the folder that it lies in. Nobody else can give files
away, so for everyone else nothing happens here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_folder(path: Path, *, mode: int = 0o777) -> Path:
    """Make ``path``, with what is missing above it, and return it; see :func:`give`."""
    if not path.is_dir():
        if path.parent != path:
            make_folder(path.parent, mode=mode)
        with suppress(FileExistsError):
            path.mkdir(mode=mode)
            give(path)
        if not path.is_dir():
            raise NotADirectoryError(20, "Not a directory", str(path))
    return path


def give(path: Path, *, fd: int | None = None) -> None:
    """Give ``path`` (as yet only open, as ``fd``) to the owner of its folder."""
    if os.geteuid() != 0:
        return
    facts = path.parent.stat()
    if facts.st_uid != 0:
        follow = fd is not None
        os.chown(fd if fd is not None else path, facts.st_uid, facts.st_gid, follow_symlinks=follow)


def give_all(folder: Path) -> None:
    """Give ``folder`` and all in it to the owner of the folder that it lies in."""
    if os.geteuid() != 0 or folder.parent.stat().st_uid == 0:
        return
    give(folder)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):  # git made it for a moment
                give(Path(place, name))
