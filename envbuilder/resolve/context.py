"""What travels through a whole piece of work, from the command line to the last leaf."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Event

from envbuilder.model.progress import Progress
from envbuilder.registry.client import Client
from envbuilder.storage.store import Store

from .python.download import IndexClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where work is done and with whose help; none of it changes a byte of the result.

    Whoever uses the library makes one, and closes ``registries`` and ``indexes``. ``offline``
    forbids the network; ``builder`` names the buildx builder for what takes Docker. Work gives up
    once ``stop`` is set.
    """

    store: Store
    progress: Progress
    registries: Client
    offline: bool = False
    builder: str | None = None
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
