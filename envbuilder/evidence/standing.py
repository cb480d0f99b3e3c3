"""Which evidence of ours was seen where, so that the next push of the same asks one thing more.

A memory may be wrong: a registry is cleaned up, or another signer writes a tag anew. So each time
one of the places that hold our evidence, in turn, is asked whether it still is as we left it; what
differs in any way is read again, and after a day everything is.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest
from envbuilder.registry.referrers import list_referrers
from envbuilder.registry.repository import Repository
from envbuilder.storage.store import Store

Form = Literal["tags", "bundles", "stamped"]

_KIND = "registry-evidence"
_MOST = 256  # standings that are remembered of one repository, the last ones
_DAY = 86400.0  # seconds


class Tag(Struct, frozen=True, kw_only=True):
    """A tag, and the manifest that we left under it."""

    name: str
    digest: Digest


class Places(Struct, frozen=True, kw_only=True):
    """Where evidence stands: under ``tags``, or in ``referrers`` that the registry's API lists."""

    tags: tuple[Tag, ...] = ()
    referrers: tuple[Digest, ...] = ()

    def hold(self, repository: Repository, image: Digest) -> bool:
        """Ask whether the first tag, or the list, is as we left it. Raises NetworkError."""
        if self.tags:
            return repository.find(self.tags[0].name) == self.tags[0].digest
        listed = {each.digest for each in list_referrers(repository, image)}
        return bool(self.referrers) and listed.issuperset(self.referrers)

    def turned(self) -> Places:
        """Return the same with the first tag last."""
        return replace(self, tags=(*self.tags[1:], *self.tags[:1]))


class Standing(Struct, frozen=True, kw_only=True):
    """All that ``signer`` states of ``image`` in one ``form``, and the ``places`` where that is.

    ``result`` is the test result among it, by the digest of its payload. All was looked at at the
    moment ``looked`` (seconds since 1970).
    """

    image: Digest
    signer: str
    form: Form
    looked: float
    result: Digest | None
    places: Places

    @property
    def about(self) -> tuple[Digest, str, Form]:
        """What this is the memory of."""
        return self.image, self.signer, self.form


class Standings:
    """What is remembered of one repository."""

    def __init__(self, store: Store, repository: Repository) -> None:
        self._store = store
        self._repository = repository
        self._key = str(repository)

    def find(self, image: Digest, signer: str, form: Form) -> Standing | None:
        """Return what stands there by memory; None if nobody looked for a day."""
        fresh = (each for each in self._read() if 0 <= time.time() - each.looked < _DAY)
        return next((each for each in fresh if each.about == (image, signer, form)), None)

    def form(self, image: Digest, signer: str) -> Form | None:
        """Return the form in which evidence without stamps stands there by memory."""
        forms: tuple[Form, ...] = ("bundles", "tags")
        return next((each for each in forms if self.find(image, signer, each)), None)

    def still(self, standing: Standing) -> bool:
        """Ask the registry whether ``standing`` holds; forget it if not. Raises NetworkError."""
        if not standing.places.hold(self._repository, standing.image):
            self.forget(standing.image)
            return False
        self.keep(replace(standing, places=standing.places.turned()))
        return True

    def keep(self, standing: Standing) -> None:
        """Remember ``standing``, in place of what was known about the same."""
        others = (each for each in self._read() if each.about != standing.about)
        self._write((*others, standing)[-_MOST:])

    def forget(self, image: Digest) -> None:
        """Have everything about ``image`` looked at again."""
        self._write(tuple(each for each in self._read() if each.image != image))

    def _read(self) -> tuple[Standing, ...]:
        return self._store.record(_KIND, self._key, tuple[Standing, ...]) or ()

    def _write(self, standings: tuple[Standing, ...]) -> None:
        if standings == self._read():
            return
        with suppress(BuildError):  # a store that may only be read still serves
            self._store.put_record(_KIND, self._key, standings)
