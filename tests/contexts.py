"""Contexts for tests: a store, silence, and this machine's registries."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from envbuilder.model.progress import Progress, Silent
from envbuilder.registry.client import Client
from envbuilder.registry.open_image import OpenedImage, open_image
from envbuilder.resolve.context import Context
from envbuilder.resolve.git.context import GitContext
from envbuilder.resolve.python.download import IndexClient
from envbuilder.runtime import Runtime, choose
from envbuilder.storage.store import Store

OPENED: list[Client | IndexClient] = []
"""The clients that conftest.py closes after each test."""


def indexes() -> IndexClient:
    """Make who asks the package indexes, and knows nothing yet."""
    made = IndexClient()
    OPENED.append(made)
    return made


def context(store: Store, progress: Progress | None = None, **more: Any) -> Context:
    """Make a context of ``store``; ``more`` are its other fields."""
    if "registries" not in more:
        more["registries"] = Client.from_environment()
        OPENED.append(more["registries"])
    more.setdefault("indexes", indexes())
    return Context(store=store, progress=progress or Silent(), **more)


def git_context(
    store: Store,
    progress: Progress | None = None,
    *,
    runtime: Callable[[], Runtime] | None = None,
    **more: Any,
) -> GitContext:
    """Make a context for git sources, whose builds ``runtime`` contains, or else an OCI runtime."""
    plain = context(store, progress, **more)
    return GitContext(
        store=store,
        progress=plain.progress,
        registries=plain.registries,
        indexes=plain.indexes,
        offline=plain.offline,
        runtime=runtime or (lambda: choose("oci", store)),
    )


def open_here(where: str, store: Store) -> AbstractContextManager[OpenedImage]:
    """Open the image ``where`` for linux/amd64."""
    registries = context(store).registries
    return open_image(where, "linux/amd64", store=store, registries=registries)
