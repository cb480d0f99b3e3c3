"""The content store: blobs named by their SHA-256, and records of what was derived from them.

On disk: ``blobs/sha256/HEX`` (as in an OCI image layout), ``records/KIND/HEX.json``, ``locks/NAME``
and ``tmp/``. A blob appears under its name only whole and synced (temporary file, fsync, rename),
so several processes share one store, and a killed one leaves nothing but a temporary file, which
the next process to write removes. A store that we make is its owner's alone (0700): what images
hold has no business with other users. What root makes in a user's store stays that user's.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, overload

from envbuilder.model.errors import BuildError, UsageError
from envbuilder.model.owner import make_folder
from envbuilder.model.reference import Digest

from .blobs import Blob, list_blobs
from .holds import Holds
from .locks import remove_free, take
from .records import Record, dump_record, read_record, record_path
from .stream import REPAIR, CheckedReader, Writer, damaged, is_whole
from .temporary import Temporary, full_disk_told, remove_abandoned, translated
from .verified import Stamp, Verified

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CHUNK = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)  # a store that may only be read still serves


class Store:
    """A content-addressed folder that several processes may read and write at once.

    A blob is checked against its digest whenever it is read; a record is only given out while the
    blobs that it stands on are there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.verified = Verified()
        """What this process found sound: blobs by digest, and whatever else others add."""
        self.holds = Holds(root / "held")
        """What any process works on: layers by digest, and whatever else others add."""
        self._blobs = root / "blobs" / "sha256"
        self._records = root / "records"
        self._temporary = root / "tmp"
        self._locks = root / "locks"

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
        """Return whether a blob is in the store; raise BuildError if we may not look."""
        try:
            return self.path(digest).exists()
        except PermissionError as error:
            raise self._unreadable(digest, error) from error
        except OSError:  # the disk cannot find it
            return False

    def read(self, digest: Digest) -> bytes:
        """Return a whole blob; raise BuildError if it is missing or damaged."""
        with self.open(digest) as blob:
            return blob.read()

    @contextmanager
    def open(self, digest: Digest) -> Iterator[BinaryIO]:
        """Read a blob as a stream that raises BuildError at its end where the content is wrong."""
        with self._opened(digest) as file:
            yield io.BufferedReader(CheckedReader(file, digest), _CHUNK)

    def checked(self, digest: Digest) -> Path:
        """Return the file of a blob whose bytes are what its name says, for others to read.

        It is hashed once in a process, and again where it changed since; what this process wrote
        was hashed then. Raises BuildError if the blob is missing or damaged.
        """
        with self._opened(digest) as file:
            stamp = Stamp.of(file.fileno())
            if not self.verified.holds(digest, stamp):
                if not is_whole(file, digest):
                    raise damaged(digest)
                self.verified.add(digest, stamp)
        return self.path(digest)

    def copy(self, digest: Digest, target: Path) -> None:
        """Copy a blob to the new file ``target``, checked; never a link, for a writer to reach us.

        File systems that can share the bytes behind two files until one changes (btrfs, xfs) do.
        """
        with self.checked(digest).open("rb") as source, target.open("xb") as out:
            try:
                fcntl.ioctl(out, _FICLONE, source.fileno())
            except OSError:  # this file system cannot, or these are two
                shutil.copyfileobj(source, out, _CHUNK)

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
            yield Writer(temporary, file, self.path, self.verified)

    def adopt(self, path: Path, digest: Digest) -> Digest:
        """Take in a file by copying it; raise BuildError if it does not match ``digest``.

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
        self._remove(self.path(digest))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend an empty directory inside the store; it goes at the end, or when we are killed.

        Raises DiskFullError where the block finds the disk full.
        """
        with self._made("scratch", directory=True) as temporary, full_disk_told(self.root):
            yield temporary.path

    # -- records ----------------------------------------------------------------------------

    @overload
    def record(self, kind: str, key: str) -> Any: ...  # noqa: ANN401 (JSON is any)

    @overload
    def record(self, kind: str, key: str, as_type: type[T]) -> T | None: ...

    def record(self, kind: str, key: str, as_type: Any = Any) -> Any:
        """Return the value recorded for ``key``, or None if there is none that is an ``as_type``.

        None as well if the record is damaged, or a blob that it stands on is gone. The blobs
        count as used now.
        """
        found = self._valid(record_path(self._records, kind, key), as_type)
        return None if found is None else found.value

    def records(self, kind: str, as_type: type[T]) -> Iterator[Record[T]]:
        """Yield all records of a kind that still hold, in a stable order."""
        for path in sorted((self._records / kind).glob("*.json")):
            if (found := self._valid(path, as_type)) is not None:
                yield found

    def put_record(
        self,
        kind: str,
        key: str,
        value: object,
        *,
        blobs: Iterable[Digest] = (),
    ) -> None:
        """Record a derived fact, valid as long as ``blobs`` are in the store."""
        record = Record(kind=kind, key=key, value=value, blobs=tuple(sorted(blobs)))
        with self._made("record", directory=False) as temporary, translated(self.root):
            temporary.path.write_bytes(dump_record(record))
            temporary.keep_as(record_path(self._records, kind, key))

    def drop_record(self, kind: str, key: str) -> None:
        """Remove what is recorded for ``key``, if anything is."""
        self._remove(record_path(self._records, kind, key))

    # -- sharing ----------------------------------------------------------------------------

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lock ``name``; other threads and processes wait (kill -9 frees it).

        ``waiting`` is called while another holds it, five times a second; it may raise to give up.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no lock name")
        with translated(self.root):
            file = take(make_folder(self._locks, mode=0o700) / name, waiting)
        with file:
            yield

    # -- upkeep -----------------------------------------------------------------------------

    def ls(self) -> list[Blob]:
        """List the blobs, sorted by digest."""
        return list_blobs(self._blobs)

    def damaged(self, digest: Digest) -> bool:
        """Return whether a blob holds other bytes than its name says, by reading all of it.

        Raises OSError if it cannot even be opened.
        """
        with suppress(FileNotFoundError), self.path(digest).open("rb") as file:
            return not is_whole(file, digest)
        return False  # a build beside us needs it no longer

    def record_files(self) -> list[Path]:
        """Return the files of all records."""
        return sorted(self._records.glob("*/*.json"))

    def damaged_record(self, path: Path) -> bool:
        """Return whether a record's file says nothing, or not what its name promises.

        One that is gone is not damaged. Raises PermissionError if we may not read it.
        """
        return read_record(self._records, path, Any) is None and os.path.lexists(path)

    def prune(self, *, keep: Collection[Digest], unused_for: float = 3600) -> list[Blob]:
        """Remove blobs that are neither kept nor held, nor used in the last ``unused_for`` seconds.

        A record that stands on a kept blob keeps its other blobs too; records whose blobs are gone
        go as well. The hour's grace spares what a build that runs now relies on. Returns what
        was removed.
        """
        with suppress(FileNotFoundError):
            remove_abandoned(self._temporary)
        blobs = self.ls()
        needed = {*keep, *self.holds.held(blob.digest for blob in blobs)}
        for path in self.record_files():
            found = read_record(self._records, path, Any)
            if found is not None and not set(found.blobs).isdisjoint(keep):
                needed |= set(found.blobs)
        before = time.time() - unused_for
        gone = [b for b in blobs if b.digest not in needed and b.used <= before]
        for blob in gone:
            self.discard(blob.digest)
        for path in self.record_files():
            found = read_record(self._records, path, Any)
            if found is None or not all(self.has(digest) for digest in found.blobs):
                self._remove(path)
        return gone

    def prune_locks(self) -> None:
        """Remove the lock files that nobody holds."""
        with suppress(FileNotFoundError):
            remove_free(self._locks)

    # -- inside -----------------------------------------------------------------------------

    def _touch(self, digest: Digest) -> bool:
        path = self.path(digest)
        try:
            before = Stamp.of(path)
            os.utime(path)
            self.verified.moved(digest, before=before, after=Stamp.of(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno == errno.EIO:  # the disk cannot find it
                return False
            if error.errno not in _NOT_OURS:
                raise
            return self.has(digest)
        return True

    @contextmanager
    def _opened(self, digest: Digest) -> Iterator[io.BufferedReader]:
        try:
            file = self.path(digest).open("rb")
        except FileNotFoundError as error:
            raise BuildError(
                f"blob {digest} is not in the store {self.root}", hint="build again to make it anew"
            ) from error
        except OSError as error:
            raise self._unreadable(digest, error) from error
        with file:
            yield file

    def _remove(self, path: Path) -> None:
        with translated(self.root):
            path.unlink(missing_ok=True)

    def _unreadable(self, digest: Digest, error: OSError) -> BuildError:
        hint = "check its permissions, or set ENVBUILDER_CACHE to a store that you may read"
        return BuildError(
            f"cannot read {self.path(digest)}: {error.strerror}",
            hint=hint if isinstance(error, PermissionError) else REPAIR,
        )

    @contextmanager
    def _made(self, kind: str, *, directory: bool) -> Iterator[Temporary]:
        with translated(self.root):
            make_folder(self._temporary, mode=0o700)
            remove_abandoned(self._temporary)
        with Temporary.create(self._temporary, kind, directory=directory) as temporary:
            yield temporary

    def _valid(self, path: Path, as_type: type[T]) -> Record[T] | None:
        found = read_record(self._records, path, as_type)
        if found is None or not all(self._touch(digest) for digest in found.blobs):
            return None
        return found
