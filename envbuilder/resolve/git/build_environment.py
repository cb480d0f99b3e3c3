"""Where a spec's git sources become wheels, as far as locking them has to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from envbuilder.model.lock import ImageBase, Lock

from .recipe import builder_identity
from .sandbox import Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEnvironment:
    """The base of ``lock``, or its image to compile in; ``lock`` has neither wheels nor sources.

    ``variables`` gives what its config sets, as ``NAME=value``. ``pinned`` gives the lock with the
    exact system packages, ``sandbox`` makes it; both may take minutes.
    """

    lock: Lock
    variables: Callable[[], tuple[str, ...]]
    pinned: Callable[[], Lock]
    sandbox: Callable[[], Sandbox]

    @property
    def title(self) -> str:
        """Its name for people."""
        image = self.lock.builder or self.lock.base
        return (
            image.reference
            if isinstance(image, ImageBase)
            else f"{image.distribution.title()} {image.suite}"
        )

    @property
    def key(self) -> str:
        """Where in the spec one says what is in it."""
        return "build: {image: …, system: {packages: […]}}"

    def identity(self) -> str:
        """Name by content what is in it, exact packages included."""
        return str(builder_identity(self.pinned()))

    def serves(self, other: Lock) -> bool:
        """Return whether it is, as far as that is known without asking, what ``other`` had."""
        return builder_identity(self.lock) == builder_identity(other)


Building = Callable[[Lock], BuildEnvironment]
"""Gives the build environment of a lock that has neither wheels nor sources yet."""
