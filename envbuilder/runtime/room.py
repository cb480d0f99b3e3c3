"""The disk below the folders that a command may write to: it must not take all of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .command import Mount

LOOK = 0.25
"""Seconds between two looks: no disk is filled by an eighth meanwhile."""
_SHARE = 8


class Room:
    """What was free where ``mounts`` may be written to; an eighth of that has to stay free.

    The file system is asked, and no folder counted: files without a name take room as well, and
    what others write meanwhile is as little ours to take.
    """

    def __init__(self, mounts: Iterable[Mount]) -> None:
        folders = {mount.source for mount in mounts if not mount.read_only}
        self._least = {folder: _free(folder) // _SHARE for folder in folders}

    def left(self) -> bool:
        """Return whether there is still room."""
        return all(_free(folder) >= least for folder, least in self._least.items())


def _free(folder: Path) -> int:
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize
