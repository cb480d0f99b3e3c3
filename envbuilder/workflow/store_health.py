"""Whether what the store keeps is what it was: every kind of file, read to its last byte.

Nothing here trusts a time of change. All that is damaged can be made, fetched or built again, so
to repair is to remove; the next build notices what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from envbuilder.resolve.context import Context
from envbuilder.resolve.git.mirror_check import drop_mirror, is_broken, mirrors
from envbuilder.runtime.tree_check import is_damaged
from envbuilder.runtime.trees import drop_tree, list_layers
from envbuilder.storage import build_records
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """How many things of one kind were looked at, and which of them are damaged, by name."""

    kind: str
    count: int
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    name: str
    things: Sequence[Any]
    is_damaged: Callable[[Any], bool]
    remove: Callable[[Any], object]


def examine(context: Context, *, repair: bool = False) -> Iterator[Examination]:
    """Look at everything in the store, one kind after another; to ``repair`` removes the damaged.

    What stands on blobs comes before these, or it would be gone together with them, unsaid.

    Raises BuildError if something damaged cannot be removed, MissingToolError for git
    repositories without git.
    """
    store = context.store
    for listed in (_builds, _records, _trees, _mirrors, _blobs):
        kind = listed(store)
        damaged = []
        with (
            context.progress.step(
                "verify", kind.name, total=len(kind.things), unit="items"
            ) as step,
            translated(store.root),
        ):
            for thing in kind.things:
                if kind.is_damaged(thing):
                    damaged.append(str(thing))
                    if repair:
                        kind.remove(thing)
                step.advance(1)
        yield Examination(kind=kind.name, count=len(kind.things), damaged=tuple(damaged))


def _blobs(store: Store) -> _Kind:
    digests = [blob.digest for blob in store.ls()]
    return _Kind(name="blobs", things=digests, is_damaged=store.damaged, remove=store.discard)


def _records(store: Store) -> _Kind:
    return _Kind(
        name="records",
        things=store.record_files(),
        is_damaged=store.damaged_record,
        remove=partial(Path.unlink, missing_ok=True),
    )


def _trees(store: Store) -> _Kind:
    return _Kind(
        name="unpacked layers",
        things=list_layers(store),
        is_damaged=partial(is_damaged, store),
        remove=partial(drop_tree, store),
    )


def _mirrors(store: Store) -> _Kind:
    return _Kind(
        name="git repositories",
        things=mirrors(store),
        is_damaged=is_broken,
        remove=partial(drop_mirror, store),
    )


def _builds(store: Store) -> _Kind:
    return _Kind(
        name="kept builds",
        things=build_records.kept(store),
        is_damaged=lambda lock: build_records.recall(store, lock) is None,
        remove=partial(build_records.drop, store),
    )
