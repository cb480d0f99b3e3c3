"""What a spec says of the image beside its packages: user, own files, how its health is asked."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from .spec_words import ABSOLUTE, HIGHEST_ID, MODE, OWNER, PLACE, USER, Frozen, Line

Seconds = Annotated[int, Meta(ge=1, le=604800, description="seconds")]  # engines count nanoseconds


class Healthcheck(Frozen):
    """How a container engine finds out whether the image's program still works.

    ``command`` runs as it stands, without a shell. Times are seconds.
    """

    command: Annotated[tuple[Line, ...], Meta(min_length=1)]
    interval: Seconds | None = None
    timeout: Seconds | None = None
    start_period: Seconds | None = None
    retries: Annotated[int, Meta(ge=1, le=10_000)] | None = None


class OwnUser(Frozen):
    """A user to make in the image, with a group and a home, and to run as.

    ``gid`` is the number ``uid`` if left out, ``home`` is ``/home/NAME``.
    """

    name: Annotated[str, Meta(pattern=USER)]
    uid: Annotated[int, Meta(ge=1, le=HIGHEST_ID)]
    gid: Annotated[int, Meta(ge=0, le=HIGHEST_ID)] | None = None
    home: Annotated[str, Meta(pattern=ABSOLUTE)] | None = None

    @property
    def group(self) -> int:
        """The number of the user's group."""
        return self.uid if self.gid is None else self.gid

    @property
    def folder(self) -> str:
        """The path of the user's home."""
        return self.home or f"/home/{self.name}"


class OwnFiles(Frozen):
    """A file or a folder of one's own, from the spec's folder, and its place in the image.

    ``mode`` is that of every file; left out, 0755 for what its owner may execute and 0644 for the
    rest. ``owner`` is root if left out. ``exclude`` holds patterns as in a ``.dockerignore``.
    """

    to: Annotated[str, Meta(pattern=PLACE, max_length=1024)]
    from_: Line = msgspec.field(name="from")
    mode: Annotated[str, Meta(pattern=MODE)] | None = None
    owner: Annotated[str, Meta(pattern=OWNER)] | None = None
    exclude: tuple[Line, ...] = ()
