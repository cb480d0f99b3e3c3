"""What of the store is still needed, and the removal of the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from envbuilder.layers.wheel_reconstruction import makers
from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import needed_blobs, read_lock
from envbuilder.model.reference import Digest
from envbuilder.resolve.git.prune import prune_sources
from envbuilder.runtime.trees import prune_trees
from envbuilder.storage.build_records import forget, kept_blobs
from envbuilder.storage.ledger import read
from envbuilder.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went: blobs and their bytes, old reports and logs, copies of repositories and caches."""

    blobs: int
    size: int
    reports: int
    sources: int


def prune(store: Store, folder: Path | None, *, reports: float, sources: float) -> Pruned:
    """Remove what no lock in ``folder`` needs; without one, all that no running build relies on.

    ``reports`` and ``sources`` are the days that red reports and logs, and unused repositories and
    compilers' caches, stay. Raises UsageError if the folder has no locks, since all would go.
    """
    locks = [] if folder is None else _locks(folder)
    gone = store.prune(keep=_needed(store, folder, locks))
    prune_trees(store)
    pruned = Pruned(
        blobs=len(gone),
        size=sum(blob.size for blob in gone),
        reports=forget(store, days=reports),
        sources=prune_sources(store, locks, days=sources),
    )
    store.prune_locks()  # last: all that goes is held for a moment
    return pruned


def _locks(folder: Path) -> list[Lock]:
    locks = [read_lock(path) for path in sorted(folder.glob("pylock.*.toml"))]
    if not locks:
        raise UsageError(
            f"there are no locks in {folder}, so nothing would be kept",
            hint="name their folder with --lockfiles, or say --all",
        )
    return locks


def _needed(store: Store, folder: Path | None, locks: Iterable[Lock]) -> set[Digest]:
    """Name the blobs that ``locks`` need, and the texts that a rollback in ``folder`` restores."""
    keep = {digest for lock in locks for digest in needed_blobs(lock)}
    keep |= makers(store, keep)
    for path in () if folder is None else sorted(folder.glob("*.ledger.jsonl")):
        keep |= kept_blobs(store, read(path)[0])
    return keep
