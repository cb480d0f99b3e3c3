"""Forget repositories that nobody asks for any more: our copies, and the caches of compilers."""

from __future__ import annotations

import time
from collections.abc import Iterable

from envbuilder.model.git_url import Address
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.storage.store import Store

from .contained import COMPILED
from .mirror import Mirror

_GRACE = 3600  # seconds; what a build that runs now relies on


def prune_sources(store: Store, locks: Iterable[Lock], *, days: float) -> int:
    """Remove what no lock names and nobody used for ``days`` (an hour at least); say how many.

    What is asked for later is fetched, or compiled, again.
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
    for path in old:
        with store.lock(f"git-{path.name}"), store.scratch() as scratch:
            path.rename(scratch / "gone")  # at once: half a repository would pass for a whole one
    return len(old)
