"""Whether what the store keeps is what it was: every kind of file, read to its last byte.

Nothing here trusts a time of change. All that is damaged can be made, fetched or built again, so
to repair is to remove; the next build notices what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from envbuilder.model.errors import BuildError
from envbuilder.resolve.context import Context
from envbuilder.resolve.git.mirror_check import holding_mirror, is_broken, mirrors
from envbuilder.runtime.tree_check import is_damaged
from envbuilder.runtime.trees import holding_tree, list_layers
from envbuilder.storage import build_records
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import REFUSALS, translated


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
    holding: Callable[[Any], AbstractContextManager[Callable[[], object]]]
    """Keeps a thing as it is until that is decided; gives what removes it."""


def examine(context: Context, *, repair: bool = False) -> Iterator[Examination]:
    """Look at everything in the store, one kind after another; to ``repair`` removes the damaged.

    What stands on blobs comes before these, or it would be gone together with them, unsaid.

    What the disk cannot read is damaged. Raises BuildError for what we may not read, for a store
    that takes no layer unpacked once more, and if something damaged cannot be removed,
    MissingToolError for git repositories without git.
    """
    store = context.store
    for listed in (_builds, _records, _trees, _mirrors, _blobs):
        kind = listed(store)
        damaged = []
        with context.progress.step(
            "verify", kind.name, total=len(kind.things), unit="items"
        ) as step:
            for thing in kind.things:
                with kind.holding(thing) as remove:
                    if _is_damaged(kind, thing, store):
                        damaged.append(str(thing))
                        if repair:
                            with translated(store.root):
                                remove()
                step.advance(1)
        yield Examination(kind=kind.name, count=len(kind.things), damaged=tuple(damaged))


def _is_damaged(kind: _Kind, thing: object, store: Store) -> bool:
    try:
        return kind.is_damaged(thing)
    except FileNotFoundError:  # a build beside us needs it no longer
        return False
    except PermissionError as error:
        raise BuildError(
            f"cannot read {error.filename or thing}: {error.strerror}",
            hint="check its permissions, or run this as who owns the store",
        ) from error
    except OSError as error:
        if error.errno in REFUSALS:  # to unpack a layer once more takes room of its own
            with translated(store.root):
                raise
        return True


def _as_it_is(remove: Callable[[Any], object]) -> Callable[[Any], Any]:
    """Hold nothing: others replace such a thing at once, by the same thing or a better one."""
    return lambda thing: nullcontext(partial(remove, thing))


def _blobs(store: Store) -> _Kind:
    digests = [blob.digest for blob in store.ls()]
    return _Kind(
        name="blobs", things=digests, is_damaged=store.damaged, holding=_as_it_is(store.discard)
    )


def _records(store: Store) -> _Kind:
    return _Kind(
        name="records",
        things=store.record_files(),
        is_damaged=store.damaged_record,
        holding=_as_it_is(partial(Path.unlink, missing_ok=True)),
    )


def _trees(store: Store) -> _Kind:
    return _Kind(
        name="unpacked layers",
        things=list_layers(store),
        is_damaged=partial(is_damaged, store),
        holding=partial(holding_tree, store),
    )


def _mirrors(store: Store) -> _Kind:
    return _Kind(
        name="git repositories",
        things=mirrors(store),
        is_damaged=is_broken,
        holding=partial(holding_mirror, store),
    )


def _builds(store: Store) -> _Kind:
    return _Kind(
        name="kept builds",
        things=build_records.kept(store),
        is_damaged=lambda lock: build_records.recall(store, lock) is None,
        holding=_as_it_is(partial(build_records.drop, store)),
    )
