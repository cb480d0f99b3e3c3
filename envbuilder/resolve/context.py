"""What travels through a whole piece of work, from the command line to the last leaf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Protocol

from envbuilder.model.image import Layer
from envbuilder.model.progress import Progress
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.storage.store import Store

from .python.download import IndexClient


class RemoteLayers(Protocol):
    """A place that many machines share: layers, by a text that says all that they are made of."""

    @property
    def place(self) -> ImageRef:
        """The repository that the blobs lie in, which a push may mount them from."""

    def find(self, keys: Sequence[str]) -> Mapping[str, tuple[Layer, ...]]:
        """Return the layers of those ``keys`` that are there, as somebody trusted has made them.

        Raises NetworkError if the place cannot be reached.
        """

    def lacking(self, made: Mapping[str, tuple[Layer, ...]]) -> Mapping[str, tuple[Layer, ...]]:
        """Return what of ``made`` is not there yet; nothing if we may not put it there."""

    def vouch(self, made: Mapping[str, tuple[Layer, ...]]) -> None:
        """State what was ``made``, once its blobs are there; raises NetworkError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where work is done and with whose help; none of it changes a byte of the result.

    Whoever uses the library makes one, and closes ``registries`` and ``indexes``. ``offline``
    forbids the network; ``builder`` names the buildx builder for what takes Docker. ``remote``
    is where other machines have put layers. Work gives up once ``stop`` is set.
    """

    store: Store
    progress: Progress
    registries: Client
    offline: bool = False
    builder: str | None = None
    remote: RemoteLayers | None = None
    indexes: IndexClient = field(default_factory=IndexClient)
    stop: Event = field(default_factory=Event)

    def part(self) -> Context:
        """Return a context for a part of this work, which can be stopped alone."""
        return replace(self, stop=_Below(self.stop))


class _Below(Event):
    """An event that counts as set, too, once the one ``above`` is; wait for it with a timeout."""

    def __init__(self, above: Event) -> None:
        super().__init__()
        self._above = above

    def is_set(self) -> bool:
        return super().is_set() or self._above.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set() or super().wait(timeout) or self._above.is_set()
