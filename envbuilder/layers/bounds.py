"""What a wheel, a layer, an image may make us hold and do: a budget each, spent as it is read.

A few megabytes may say that they are gigabytes, or name millions of files. The numbers lie above
what the largest honest inputs need (torch's RECORD has 1 MB, text inflates to 20 times its size)
and keep any input of 10 MB below 400 MB of memory and 30 seconds of a processor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from envbuilder.model.errors import BuildError, EnvbuilderError

FEW_MEMBERS = 60_000
"""Members that an input of any size may have; making so many takes some ten seconds."""
MEMBER = 512
"""Bytes that an input has for each further one: honest files take more, names alone a few."""
MEMBERS = 500_000
"""Members of an input however large it is."""
RECORDS = 16
"""Extended records that a member of a tar may have, on the average; honest ones have up to six."""
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
    """What is left for one input; each method raises what ``refuse`` makes when it is spent.

    What is spent is spent ``within`` another one as well: a layer's within its image's.
    """

    refuse: Callable[[str], EnvbuilderError]
    content_left: int
    members_left: int = field(default_factory=lambda: MEMBERS)
    names_left: int = field(default_factory=lambda: NAMES)
    steps_left: int = field(default_factory=lambda: STEPS)
    whole_left: int = field(default_factory=lambda: WHOLE)
    within: Self | None = None
    _folders: set[str] = field(default_factory=set, init=False)
    _records_left: int = field(init=False)

    def __post_init__(self) -> None:
        self._records_left = RECORDS * self.members_left

    @classmethod
    def of(
        cls, packed: int, refuse: Callable[[str], EnvbuilderError], *, within: Self | None = None
    ) -> Self:
        """Return what an input of ``packed`` bytes, as it came, may ask for."""
        return cls(
            refuse=refuse,
            content_left=most_content(packed),
            members_left=most_members(packed),
            within=within,
        )

    @classmethod
    def of_image(cls, name: str, packed: int) -> Self:
        """Return what all layers of the image ``name``, ``packed`` bytes, may ask for together.

        Those of a few megabytes get no more than one layer does; threads may share it.
        """

        def refused(why: str) -> BuildError:
            hint = "the image is damaged or hostile"
            return BuildError(f"{name}, all its layers together: {why}", hint=hint)

        return cls(
            refuse=refused,
            content_left=most_content(packed),
            members_left=FEW_MEMBERS + packed // MEMBER,
            names_left=max(NAMES, packed // 8),
            steps_left=max(STEPS, packed // MEMBER),
            whole_left=IMAGE_WHOLE,
        )

    def grow(self, packed: int) -> None:
        """Allow for ``packed`` bytes more that the input turned out to have."""
        self.content_left += RATIO * packed
        self.members_left += packed // MEMBER

    def member(self, path: str, *, target: str = "") -> None:
        """Count one member, which may be a link to ``target``."""
        if why := check_path(path):
            raise self.refuse(why)
        self.members_left -= 1
        if self.members_left < 0:
            raise self.refuse("it has more members than any honest one of its size")
        self._name(path)
        for folder in folders_above(path):
            if folder in self._folders:
                break  # and so are those above it
            self._folders.add(folder)
            self._name(folder)
        if target:
            if (size := _size(target)) > TARGET:
                raise self.refuse(f"{path!r} is a link of {size} bytes, more than {TARGET}")
            self._name(target)
        if self.within:
            self.within.member(path, target=target)

    def record(self) -> None:
        """Count an extended record of a tar's member."""
        self._records_left -= 1
        if self._records_left < 0:
            raise self.refuse("it has more extended records than any honest one of its size")
        if self.within:
            self.within.record()

    def name(self, path: str) -> None:
        """Count a path that is kept."""
        self._name(path)
        if self.within:
            self.within.name(path)

    def _name(self, path: str) -> None:
        self.names_left -= sys.getsizeof(path) + ENTRY
        if self.names_left < 0:
            raise self.refuse("its paths alone take more memory than any honest ones")

    def step(self) -> None:
        """Count a name that is looked up on the way of a path."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise self.refuse("its paths lead through more folders and links than any honest ones")
        if self.within:
            self.within.step()

    def hold(self, path: str, size: int, *, limit: int) -> None:
        """Count ``size`` bytes of ``path`` that are held whole, of which ``limit`` are sensible."""
        if size > limit:
            raise self.refuse(f"{path!r} has {size} bytes, more than the {limit} that are sensible")
        self.whole_left -= size
        if self.whole_left < 0:
            raise self.refuse("its documents have more bytes together than any honest ones")
        if self.within:
            self.within.hold(path, size, limit=limit)

    def content(self, size: int) -> None:
        """Count bytes that came out of a compressed stream."""
        self.content_left -= size
        if self.content_left < 0:
            raise self.refuse(f"it inflates to more than {RATIO} times its size")
        if self.within:
            self.within.content(size)
