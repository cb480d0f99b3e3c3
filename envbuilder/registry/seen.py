"""Which blobs we have seen in which repositories, so that another of that registry mounts them.

What is remembered is a hint: a registry that no longer has a blob there refuses to mount it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from .repository import Repository

_KIND = "registry-blobs"
_MOST = 4096  # blobs that are remembered of one repository, the last ones
_TRIED = 2  # repositories that a blob is mounted from, if the first no longer has it


def known_repositories(store: Store) -> list[str]:
    """Name the repositories (HOST/NAME) that images were pushed to from this store, sorted."""
    return sorted(record.key for record in store.records(_KIND, tuple[Digest, ...]))


class SeenBlobs:
    """The blobs in the repositories of one registry, but for ``repository`` itself."""

    def __init__(self, store: Store, repository: Repository) -> None:
        self._store = store
        self._key = str(repository)
        self._names: dict[Digest, list[str]] = {}
        for record in store.records(_KIND, tuple[Digest, ...]):
            registry, _, name = record.key.partition("/")
            if registry == repository.registry and name != repository.name:
                for digest in record.value:
                    self._names.setdefault(digest, []).append(name)

    def names(self, digest: Digest) -> tuple[str, ...]:
        """Name the repositories that a blob may be mounted from."""
        return tuple(self._names.get(digest, ())[:_TRIED])

    def remember(self, digests: Iterable[Digest]) -> None:
        """Keep in mind that the repository has ``digests`` now."""
        before = self._store.record(_KIND, self._key, tuple[Digest, ...]) or ()
        known = list(dict.fromkeys((*before, *digests)))[-_MOST:]
        if tuple(known) == before:
            return
        with suppress(BuildError):  # a store that may only be read still serves
            self._store.put_record(_KIND, self._key, known)
