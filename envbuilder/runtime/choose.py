"""Which runtime runs a command: the one that was asked for, or the best that is there."""

from __future__ import annotations

from envbuilder.errors import UsageError
from envbuilder.layers.store import Store

from .command import Runtime

NAMES = ("auto", "docker", "oci")


def choose(name: str, store: Store) -> Runtime:
    """Return the runtime ``name``: "oci" (crun or runc), "docker", or "auto".

    Raises MissingToolError where it is not to be had, UsageError for another name.
    """
    if name not in NAMES:
        raise UsageError(f"{name!r} is no runtime: expected one of {', '.join(NAMES)}")
    from .oci import find_runtime  # noqa: PLC0415 (each runtime loads only what it needs)

    return find_runtime(store)
