"""Keep the spec and lock texts of builds in the store, so that rollback and bisect need no git.

Red builds too: the bad end of a bisection is one. The ledger's lock checksum is the key; the texts
are blobs that the key's record stands on. Smoke reports are kept by image, so that a later push can
sign what was found.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from envbuilder.model.errors import BuildError, EnvbuilderError, LockError
from envbuilder.model.pylock import lock_path
from envbuilder.model.reference import Digest
from envbuilder.model.spec_platforms import platforms
from envbuilder.model.spec_words import Platform
from envbuilder.model.yaml_document import parse_document

from .ledger import now

if TYPE_CHECKING:
    from pathlib import Path

    from .ledger import LedgerEntry
    from .store import Store

_KIND = "built"
_REPORT = "smoke-report"
_LEFT = ("failed", "bisect", "logs")
"""Folders of the store: the reports of red bumps, what bisections wrote down, logs of builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTexts:
    """The exact bytes of a spec's YAML file and of its sealed lock.

    ``further`` are the locks of further platforms, if the spec names several.
    """

    spec: bytes
    lock: bytes
    further: Mapping[Platform, bytes] = field(default_factory=dict)

    @property
    def locks(self) -> dict[Platform | None, bytes]:
        """All locks by their platform; None stands for the first, or the only one."""
        further: Mapping[Platform | None, bytes] = dict(self.further.items())
        return {None: self.lock, **further}


class _Texts(Struct, frozen=True, kw_only=True):
    """The blobs that hold the texts of one build."""

    spec: Digest
    lock: Digest
    further: dict[Platform, Digest] = {}

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """All that the texts lie in."""
        return self.spec, self.lock, *self.further.values()


class _KeptReport(Struct, frozen=True, kw_only=True):
    report: dict[str, Any]
    finished: str


def present(spec_path: Path) -> BuildTexts:
    """Read the texts as they are on disk, a missing one as empty.

    Raises LockError if one cannot be read.
    """
    spec = _bytes(spec_path)
    named = further_platforms(spec_path, spec)
    further = {each: _bytes(lock_path(spec_path, each)) for each in named}
    return BuildTexts(spec=spec, lock=_bytes(lock_path(spec_path)), further=further)


def keep(store: Store, lock: Digest, kept: BuildTexts) -> None:
    """Store the texts that belong to the lock with checksum ``lock``."""
    texts = _Texts(
        spec=store.add(kept.spec),
        lock=store.add(kept.lock),
        further={each: store.add(text) for each, text in kept.further.items()},
    )
    store.put_record(_KIND, str(lock), texts, blobs=texts.blobs)


def recall(store: Store, lock: Digest) -> BuildTexts | None:
    """Return the texts back, or None if this store never had them, or lost or damaged them."""
    found = store.record(_KIND, str(lock), _Texts)
    if found is None:
        return None
    try:
        return BuildTexts(
            spec=store.read(found.spec),
            lock=store.read(found.lock),
            further={each: store.read(digest) for each, digest in found.further.items()},
        )
    except BuildError:  # damaged, so git is to be asked as if the store had never had them
        return None


def kept(store: Store) -> list[Digest]:
    """Name the locks whose texts are kept, by checksum."""
    return [Digest.parse(found.key) for found in store.records(_KIND, _Texts)]


def drop(store: Store, lock: Digest) -> None:
    """Forget the texts of a lock."""
    store.drop_record(_KIND, str(lock))


def keep_report(store: Store, image: Digest, report: dict[str, Any]) -> None:
    """Remember the smoke report (JSON form) of ``image``, and that it was made now."""
    store.put_record(_REPORT, str(image), _KeptReport(report=report, finished=now()), blobs=[image])


def recall_report(store: Store, image: Digest) -> tuple[dict[str, Any], str] | None:
    """Return the smoke report of ``image`` and its moment (RFC 3339), or None without one."""
    kept = store.record(_REPORT, str(image), _KeptReport)
    return None if kept is None else (kept.report, kept.finished)


def forget(store: Store, *, days: float) -> int:
    """Remove reports and logs (see _LEFT) that are that many days old; say how many."""
    before, count = time.time() - days * 86400, 0
    for path in (path for name in _LEFT for path in (store.root / name).glob("*")):
        with suppress(FileNotFoundError):  # another prune was faster
            if path.stat().st_mtime <= before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                count += 1
    return count


def kept_blobs(store: Store, entries: Iterable[LedgerEntry]) -> set[Digest]:
    """Name the blobs that hold these entries' texts: what a prune of the store must leave."""
    kept = (store.record(_KIND, str(entry.lock), _Texts) for entry in entries)
    return {digest for texts in kept if texts for digest in texts.blobs}


def further_platforms(spec_path: Path, text: bytes) -> tuple[Platform, ...]:
    """Return the platforms behind the first of a spec's ``text``; none of what cannot be read."""
    try:
        named = platforms(parse_document(spec_path, text.decode()))
    except (EnvbuilderError, UnicodeDecodeError):
        return ()
    return tuple(each for each in named[1:] if each is not None)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LockError(f"cannot read {path}: {error.strerror}") from error
