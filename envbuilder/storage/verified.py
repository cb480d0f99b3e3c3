"""What this process has found sound, so that nothing is hashed twice.

A name counts as sound while what it was found on stays as it was: the same inode, size, and times
of change. Whoever writes to a file through the file system moves these; what a failing disk does
behind them, ``cache verify`` finds, which trusts no times.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as it is now: inode, size in bytes, and both times of change in nanoseconds."""

    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, file: Path | int) -> Stamp:
        """Look at a path or an open file; raises OSError."""
        facts = os.stat(file)  # noqa: PTH116 (an open file, too)
        return cls(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Verified:
    """The names that were found sound, each with what it was found on."""

    _found: dict[object, object] = field(default_factory=dict)

    def add(self, name: object, stamp: object) -> None:
        """Remember that ``name`` was sound when it was as ``stamp`` says."""
        self._found[name] = stamp

    def holds(self, name: object, stamp: object) -> bool:
        """Return whether ``name`` was found sound, and is as it was then."""
        return self._found.get(name) == stamp

    def moved(self, name: object, *, before: object, after: object) -> None:
        """Follow a change of times that was our own; it makes nothing sound that was not."""
        if self.holds(name, before):
            self.add(name, after)
