"""What one wheel or one layer may make us hold and do: a budget each, spent as it is read.

A few megabytes may say that they are gigabytes, or name millions of files. The numbers lie above
what the largest honest inputs need (torch's RECORD has 1 MB, text inflates to 20 times its size)
and keep any input of 10 MB below 400 MB of memory and 30 seconds of a processor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from envbuilder.model.errors import BuildError

FEW_MEMBERS = 60_000
"""Members that an input of any size may have; making so many takes some ten seconds."""
MEMBER = 512
"""Bytes that an input has for each further one: honest files take more, names alone a few."""
MEMBERS = 500_000
"""Members of an input however large it is."""
DEPTH = 128
"""Folders above one path."""
PATH = 3072
"""Bytes of a path. Linux takes 4095 with what stands before it: the folder it is unpacked into."""
TARGET = 4095
"""Bytes of what a link points to; Linux takes no more."""
LINKS = 40
"""Symbolic links on the way of one path; Linux follows no more."""
PARTS = 1000
"""Names on the way of one path, with those in the links that it leads through."""
STEPS = 1_000_000
"""Names that are looked up on the way of all paths of one input."""
NAMES = 128 << 20
"""Bytes that all paths of one input take in memory, with the folders above them."""
ENTRY = 64
"""Bytes that a path takes beside its text, in the set or table that holds it."""
WHOLE = 64 << 20
"""Bytes that are held whole, of all documents of one input together."""
IMAGE_WHOLE = 128 << 20
"""Bytes of all documents of an image's layers together."""
USERS = 1 << 20
"""Bytes of a list of users or groups, as passwd is; what is longer is none."""
RATIO = 100
FLOOR = 2 << 30
"""Bytes that an input may inflate to whatever its ratio is."""


def most_content(packed: int) -> int:
    """Return how many bytes ``packed`` ones may inflate to."""
    return max(FLOOR, RATIO * packed)


def most_members(packed: int) -> int:
    """Return how many members an input of ``packed`` bytes may have."""
    return min(FEW_MEMBERS + packed // MEMBER, MEMBERS)


def check_path(path: str) -> str:
    """Say what is too much about ``path``, or nothing."""
    if (size := _size(path)) > PATH:
        return f"it has a path of {size} bytes, more than {PATH}"
    if path.count("/") > DEPTH:
        return f"{path[:60]!r}… lies more than {DEPTH} folders deep"
    return ""


def folders_above(path: str) -> Iterator[str]:
    """Yield the folders that ``path`` lies in, the innermost first."""
    end = path.rfind("/")
    while end > 0:
        path = path[:end]
        yield path
        end = path.rfind("/")


def _size(path: str) -> int:
    return len(path) if path.isascii() else len(path.encode("utf-8", "surrogateescape"))


@dataclass(slots=True, kw_only=True)
class Budget:
    """What is left for one input; each method raises what ``refuse`` makes when it is spent."""

    refuse: Callable[[str], BuildError]
    content_left: int
    members_left: int = field(default_factory=lambda: MEMBERS)
    names_left: int = field(default_factory=lambda: NAMES)
    steps_left: int = field(default_factory=lambda: STEPS)
    whole_left: int = field(default_factory=lambda: WHOLE)
    _folders: set[str] = field(default_factory=set, init=False)

    @classmethod
    def of(cls, packed: int, refuse: Callable[[str], BuildError]) -> Self:
        """Return what an input of ``packed`` bytes, as it came, may ask for."""
        return cls(
            refuse=refuse, content_left=most_content(packed), members_left=most_members(packed)
        )

    def member(self, path: str, *, target: str = "") -> None:
        """Count one member, which may be a link to ``target``."""
        if why := check_path(path):
            raise self.refuse(why)
        self.members_left -= 1
        if self.members_left < 0:
            raise self.refuse("it has more members than any honest one of its size")
        self.name(path)
        for folder in folders_above(path):
            if folder in self._folders:
                break  # and so are those above it
            self._folders.add(folder)
            self.name(folder)
        if target:
            if (size := _size(target)) > TARGET:
                raise self.refuse(f"{path!r} is a link of {size} bytes, more than {TARGET}")
            self.name(target)

    def name(self, path: str) -> None:
        """Count a path that is kept."""
        self.names_left -= sys.getsizeof(path) + ENTRY
        if self.names_left < 0:
            raise self.refuse(f"its paths alone take more than {NAMES >> 20} MiB")

    def step(self) -> None:
        """Count a name that is looked up on the way of a path."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise self.refuse(f"its paths lead through more than {STEPS} folders and links")

    def hold(self, path: str, size: int, *, limit: int) -> None:
        """Count ``size`` bytes of ``path`` that are held whole, of which ``limit`` are sensible."""
        if size > limit:
            raise self.refuse(f"{path!r} has {size} bytes, more than the {limit} that are sensible")
        self.whole_left -= size
        if self.whole_left < 0:
            raise self.refuse(f"its documents have more than {WHOLE >> 20} MiB together")

    def content(self, size: int) -> None:
        """Count bytes that came out of a compressed stream."""
        self.content_left -= size
        if self.content_left < 0:
            raise self.refuse(f"it inflates to more than {RATIO} times its size")
