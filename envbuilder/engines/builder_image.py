"""The image that sources are compiled in, if that is not the base: a small lock of its own."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from envbuilder.model.lock import Lock
from envbuilder.model.spec import Steps, System


def on_builder(lock: Lock) -> Lock:
    """Return ``lock`` as its builder image sees it: what it stands on, and no Python packages.

    So whatever makes or pins the system of an environment does so for the builder. ``lock`` must
    have one.
    """
    assert lock.builder is not None  # noqa: S101 - the caller looked
    system = System(packages=lock.spec.build.system.packages)
    spec = structs.replace(
        lock.spec, system=system, steps=Steps(), packages={}, files=(), user=None
    )
    bare = replace(lock, wheels=(), sources=(), archives=(), files=(), seal=None)
    return replace(bare, spec=spec, base=lock.builder, builder=None)
