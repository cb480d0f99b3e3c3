"""Forget repositories that nobody asks for any more: our copies, and the caches of compilers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from envbuilder.model.git_url import Address
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.storage.store import Store

from .contained import COMPILED, name_held
from .mirror import Mirror

_GRACE = 3600  # seconds; what a build that runs now relies on


def prune_sources(store: Store, locks: Iterable[Lock], *, days: float) -> int:
    """Remove what no lock names and nobody used for ``days`` (an hour at least); say how many.

    What is asked for later is fetched, or compiled, again. A cache that a build works with stays.
    """
    named = {source.repository for lock in locks for source in lock.sources}
    mirrors = (Mirror(Address.parse(each), store=store, progress=Silent()) for each in named)
    kept = {mirror.path.name for mirror in mirrors}
    before = time.time() - max(days * 86400, _GRACE)
    old = [
        path
        for folder in (store.root / "git", store.root / COMPILED)
        for path in folder.glob("*")
        if path.name not in kept and path.stat().st_mtime <= before
    ]
    return sum(_remove(store, path) for path in old)


def _remove(store: Store, path: Path) -> bool:
    """Remove a repository or a cache unless somebody holds it, and say whether that was so."""
    with store.lock(f"git-{path.name}"), store.holds.unless_held(name_held(path.name)) as free:
        if free:
            with store.scratch() as scratch:  # at once: half a repository would pass for a whole
                path.rename(scratch / "gone")
        return free
