"""The one context of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envbuilder.resolve.context import Context


@contextmanager
def open_context(
    progress_mode: str, *, offline: bool = False, builder: str | None = None
) -> Iterator[Context]:
    """Open this machine's store, its registries, and the display for ``progress_mode``."""
    from envbuilder.registry.client import Client
    from envbuilder.resolve.context import Context
    from envbuilder.storage.store import Store

    from .console import open_progress

    with open_progress(progress_mode) as progress, Client.from_environment() as registries:
        yield Context(
            store=Store.default(),
            progress=progress,
            registries=registries,
            offline=offline,
            builder=builder,
        )
