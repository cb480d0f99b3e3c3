"""What the document tells of the image's files that a start touches."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from .base import Count, Size, Word

Place = Annotated[str, Meta(pattern=r"\A/", max_length=5000)]
FileName = Annotated[str, Meta(pattern=r"\A[^/]+\Z", max_length=300)]


class Folder(Struct, kw_only=True):
    """A folder, and its files that are touched as a whole."""

    folder: Place
    names: list[FileName]


class Parts(Struct, kw_only=True):
    """A large file that is mapped, and the numbers of its chunks that are touched."""

    path: Place
    numbers: list[Count]


class TouchedFacts(Struct, kw_only=True):
    """What the jobs ``by`` touched: ``bytes`` of files ``of`` the whole; or why it is not told."""

    by: list[Word] = []
    files: list[Folder] = []
    chunks: list[Parts] = []
    bytes: Size = 0
    of: Size = 0
    problem: str = ""

    def __post_init__(self) -> None:
        if self.bytes > self.of:
            raise ValueError("more is touched than there is")
