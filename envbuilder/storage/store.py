"""The content store: blobs named by their SHA-256, and records of what was derived from them.

On disk: ``blobs/sha256/HEX`` (as in an OCI image layout), ``records/KIND/HEX.json``, ``locks/NAME``
and ``tmp/``. A blob appears under its name only whole and synced (temporary file, fsync, rename),
so several processes share one store, and a killed one leaves nothing but a temporary file, which
the next process to write removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from envbuilder.model.errors import BuildError, UsageError
from envbuilder.model.image import canonical_json
from envbuilder.model.reference import Digest

from .stream import CheckedReader, Writer
from .temporary import Temporary, remove_abandoned, translated

_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CHUNK = 1 << 20
_BLINK = 0.2  # seconds between two tries to get a lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A blob in the store: its size in bytes and when it was last used (seconds since 1970)."""

    digest: Digest
    size: int
    used: float


class Store:
    """A content-addressed folder that several processes may read and write at once.

    A blob is checked against its digest whenever it is read; a record is only given out while the
    blobs that it stands on are there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._temporary = root / "tmp"

    @classmethod
    def default(cls) -> Self:
        """Open the user's store: ``$ENVBUILDER_CACHE``, else ``envbuilder`` in the XDG cache.

        Raises UsageError for a user who has no home and names neither.
        """
        if own := os.environ.get("ENVBUILDER_CACHE"):
            return cls(Path(own))
        if xdg := os.environ.get("XDG_CACHE_HOME"):
            return cls(Path(xdg) / "envbuilder")
        try:
            return cls(Path.home() / ".cache" / "envbuilder")
        except RuntimeError as error:  # no $HOME, and a user id that has no name
            raise UsageError(
                "this user has no home folder to keep the store in", hint="set ENVBUILDER_CACHE"
            ) from error

    # -- blobs ------------------------------------------------------------------------------

    def path(self, digest: Digest) -> Path:
        """Name the file of a blob, present or not; who reads it must check what it reads."""
        return self._blobs / digest.hex

    def has(self, digest: Digest) -> bool:
        """Return whether a blob is in the store."""
        return self.path(digest).exists()

    def read(self, digest: Digest) -> bytes:
        """Return a whole blob; raise BuildError if it is missing or damaged."""
        with self.open(digest) as blob:
            return blob.read()

    @contextmanager
    def open(self, digest: Digest) -> Iterator[BinaryIO]:
        """Read a blob as a stream that raises BuildError at its end where the content is wrong."""
        try:
            file = self.path(digest).open("rb")
        except FileNotFoundError as error:
            raise BuildError(
                f"blob {digest} is not in the store {self.root}", hint="build again to make it anew"
            ) from error
        with file:
            yield io.BufferedReader(CheckedReader(file, digest), _CHUNK)

    def add(self, data: bytes) -> Digest:
        """Store ``data`` and return its digest."""
        digest = Digest.of(data)
        if not self._touch(digest):
            with self.writer() as out:
                out.write(data)
                out.commit(digest)
        return digest

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """Write a blob piece by piece; what is not committed inside the block leaves nothing.

        Raises BuildError if the disk is full.
        """
        with self._made("blob", directory=False) as temporary, temporary.path.open("wb") as file:
            yield Writer(temporary, file, self.path)

    def adopt(self, path: Path, digest: Digest) -> Digest:
        """Take in a file by copying it; raise BuildError where it does not match ``digest``.

        The file stays the caller's: a link would let later writes to it reach the store.
        """
        if not self._touch(digest):
            with self.writer() as out, path.open("rb") as source:
                while piece := source.read(_CHUNK):
                    out.write(piece)
                out.commit(digest)
        return digest

    def discard(self, digest: Digest) -> None:
        """Remove a blob, if it is there."""
        self.path(digest).unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend an empty directory inside the store; it goes at the end, or when we are killed."""
        with self._made("scratch", directory=True) as temporary:
            yield temporary.path

    # -- records ----------------------------------------------------------------------------

    def record(self, kind: str, key: str) -> Any:  # noqa: ANN401 (JSON is any)
        """Return the JSON value recorded for ``key``, or None if there is none.

        None as well where a blob that the record stands on is gone. The blobs count as used now.
        """
        return self._valid(self._record_path(kind, key))

    def records(self, kind: str) -> Iterator[Any]:
        """Yield the values of all records of a kind that still hold, in a stable order."""
        for path in sorted((self.root / "records" / kind).glob("*.json")):
            if (value := self._valid(path)) is not None:
                yield value

    def put_record(
        self,
        kind: str,
        key: str,
        value: Any,  # noqa: ANN401 (JSON is any)
        *,
        blobs: Iterable[Digest] = (),
    ) -> None:
        """Record a derived fact, valid as long as ``blobs`` are in the store."""
        entry = {"key": key, "value": value, "blobs": sorted(str(digest) for digest in blobs)}
        with self._made("record", directory=False) as temporary, translated(self.root):
            temporary.path.write_bytes(canonical_json(entry) + b"\n")
            temporary.keep_as(self._record_path(kind, key))

    # -- sharing ----------------------------------------------------------------------------

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lock ``name``; other threads and processes wait (kill -9 frees it).

        ``waiting`` is called while another holds it, five times a second; it may raise to give up.
        """
        path = self.root / "locks" / name
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no lock name")
        with translated(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
        with file:
            while waiting is not None and not _free(file):
                waiting()
                time.sleep(_BLINK)
            fcntl.flock(file, fcntl.LOCK_EX)  # it is ours already where we were `waiting`
            yield

    # -- upkeep -----------------------------------------------------------------------------

    def ls(self) -> list[Blob]:
        """List the blobs, sorted by digest."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._blobs) as entries:
            for name in (entry.name for entry in entries if _HEX.fullmatch(entry.name)):
                with suppress(FileNotFoundError):  # a build beside us needs it no longer
                    facts = (self._blobs / name).stat()
                    digest = Digest(name)
                    found.append(Blob(digest=digest, size=facts.st_size, used=facts.st_mtime))
        return sorted(found, key=lambda blob: blob.digest)

    def verify(self) -> list[Digest]:
        """Hash every blob, remove those that are damaged, and return their digests."""
        damaged = []
        for blob in self.ls():
            try:
                with self.path(blob.digest).open("rb") as file:
                    actual = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                continue  # a build beside us needs it no longer
            if actual != blob.digest.hex:
                self.discard(blob.digest)
                damaged.append(blob.digest)
        return damaged

    def prune(self, *, keep: Collection[Digest], unused_for: float = 3600) -> list[Blob]:
        """Remove blobs that are neither kept nor used in the last ``unused_for`` seconds.

        A record that stands on a kept blob keeps its other blobs too; records whose blobs are gone
        go as well. The hour's grace spares what a build that runs now relies on. Returns what
        was removed.
        """
        with suppress(FileNotFoundError):
            remove_abandoned(self._temporary)
        needed = set(keep)
        for _, blobs in self._records():
            if not blobs.isdisjoint(keep):
                needed |= blobs
        before = time.time() - unused_for
        gone = [b for b in self.ls() if b.digest not in needed and b.used <= before]
        for blob in gone:
            self.discard(blob.digest)
        for path, blobs in self._records():
            if not all(self.has(digest) for digest in blobs):
                path.unlink(missing_ok=True)
        return gone

    # -- inside -----------------------------------------------------------------------------

    def _touch(self, digest: Digest) -> bool:
        try:
            os.utime(self.path(digest))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError:  # a store that is shared read-only still serves
            return self.has(digest)
        return True

    @contextmanager
    def _made(self, kind: str, *, directory: bool) -> Iterator[Temporary]:
        with translated(self.root):
            self._temporary.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self._temporary)
        with Temporary.create(self._temporary, kind, directory=directory) as temporary:
            yield temporary

    def _valid(self, record: Path) -> Any:  # noqa: ANN401 (JSON is any)
        try:
            entry = json.loads(record.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:  # torn by a power cut: what is derived can be derived again
            record.unlink(missing_ok=True)
            return None
        if not all(self._touch(Digest.parse(text)) for text in entry["blobs"]):
            return None
        return entry["value"]

    def _record_path(self, kind: str, key: str) -> Path:
        return self.root / "records" / kind / f"{Digest.of(key.encode()).hex}.json"

    def _records(self) -> Iterator[tuple[Path, set[Digest]]]:
        for path in sorted((self.root / "records").glob("*/*.json")):
            with suppress(ValueError, FileNotFoundError):
                blobs = json.loads(path.read_bytes())["blobs"]
                yield path, {Digest.parse(text) for text in blobs}


def _free(lock: BinaryIO) -> bool:
    """Take the lock if nobody holds it, and say whether that was so."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
