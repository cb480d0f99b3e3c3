"""Write a layer as ``zstd:chunked``: the very same tar, of which podman may fetch files one by one.

Every file that is not empty begins a frame, and a large one begins another every 4 MiB. Behind the
frames, in such as unpacking passes over, lie the table of contents (``chunked``), the tar without
its content (``tar_split``) and a footer. Source: containers/storage, pkg/chunked.
"""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from msgspec import json, structs

from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest

from . import tar
from .chunked import PREFIX, TYPES, TableEntry, attributes, most_table
from .frames import PIECE, Frames, PackedText, Piece
from .tar_split import Checksum, TarSplit
from .untar import SparseFileError, TarEntry, Untar

TABLE_CHECKSUM = f"{PREFIX}manifest-checksum"
"""The annotation that a puller trusts: the hash of the table, packed."""
TABLE_LIMIT = 50 << 20
"""Bytes of a table that we write; podmans that take no more (until 2025) are still in use."""
_ZEROS = bytes(PIECE)
_LITERAL = 1 << 20  # bytes of headers that one frame holds
_MAGIC = b"GNUlInUx"
_KIND = 1  # of the table, the only one there is
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NoTableError(BuildError):
    """A tar that no table of contents can speak for, as its readers understand it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something packed lies in the blob: at ``offset``, ``size`` bytes, ``plain`` of old."""

    offset: int
    size: int
    plain: int

    def __str__(self) -> str:
        return f"{self.offset}:{self.size}:{self.plain}"


def write_chunked(source: Untar, frames: Frames) -> dict[str, str]:
    """Write all of ``source`` to ``frames``; return the annotations that name the table.

    Raises NoTableError where a table could not say what the tar does.
    """
    writer = _Writer(source, frames)
    try:
        for entry in source.entries():
            writer.entry(entry)
    except SparseFileError as error:
        raise NoTableError(error.message) from error
    return writer.finish()


class _Writer:
    def __init__(self, source: Untar, frames: Frames) -> None:
        self._source = source
        self._raw = source.raw = bytearray()
        self._frames = frames
        self._literal = bytearray()
        self._split = TarSplit()
        self._table = PackedText()
        self._table.write(b'{"version":1,"entries":[')
        self._names: set[str] = set()
        self._listed = False

    def entry(self, found: TarEntry) -> None:
        """Write one entry, with its content."""
        if self._source.has_defaults:
            raise NoTableError("it has global headers")
        listed = table_entry(found, bytes(self._raw))
        if (path := _path(listed.name)) in self._names:
            raise NoTableError(f"{listed.name!r} is there twice")
        self._names.add(path)
        self._segment()
        if listed.type == "reg" and listed.size:
            self._content(listed)
            return
        self._split.file(listed.name, 0, None)
        self._frames.then(lambda: self._list(listed))

    def finish(self) -> dict[str, str]:
        """Write what follows the last entry; return the annotations."""
        self._segment()
        for piece in self._source.rest():
            if piece.strip(b"\0"):
                raise NoTableError("something follows its end mark")
            self._split.segment(piece)
            self._literal += piece
            self._flush()
        self._flush()
        self._frames.finish()
        split = self._split.finish()
        self._table.write(b'],"tarSplitDigest":"%s"}' % str(Digest.of(split)).encode())
        table = self._table.finish()
        self._check_size(min(TABLE_LIMIT, most_table(self._frames.size)))
        places = (self._place(table, self._table.size), self._place(split, self._split.size))
        self._frames.skippable(_footer(*places))
        return {
            TABLE_CHECKSUM: str(Digest.of(table)),
            f"{PREFIX}manifest-position": f"{places[0]}:{_KIND}",
            f"{PREFIX}tarsplit-position": str(places[1]),
        }

    def _place(self, packed: bytes, plain: int) -> Place:
        return Place(offset=self._frames.skippable(packed), size=len(packed), plain=plain)

    def _segment(self) -> None:
        """Take what was read beside contents: into a frame, and into the split tar."""
        self._split.segment(bytes(self._raw))
        self._literal += self._raw
        self._raw.clear()
        if len(self._literal) >= _LITERAL:
            self._flush()

    def _flush(self) -> None:
        if self._literal:
            self._frames.put(bytes(self._literal))
            self._literal.clear()

    def _content(self, listed: TableEntry) -> None:
        self._flush()
        pieces: list[Piece] = []
        zeros: list[bool] = []
        whole = hashlib.sha256() if listed.size > PIECE else None
        checksum = Checksum()
        for plain in _joined(self._source.content()):
            pieces.append(self._frames.put(plain))
            zeros.append(plain == _ZEROS[: len(plain)])
            checksum.update(plain)
            if whole is not None:
                whole.update(plain)
        self._split.file(listed.name, listed.size, checksum.digest())
        digest = f"sha256:{whole.hexdigest()}" if whole is not None else ""
        self._frames.then(lambda: self._list_file(listed, pieces, zeros, digest))

    def _list_file(
        self, listed: TableEntry, pieces: Sequence[Piece], zeros: Sequence[bool], digest: str
    ) -> None:
        """List a file whose pieces are written."""
        first = structs.replace(
            listed,
            digest=digest or pieces[0].digest,
            offset=pieces[0].offset,
            end_offset=self._frames.size,
        )
        if len(pieces) == 1:
            self._list(first)
            return
        at = 0
        for piece, hole in zip(pieces, zeros, strict=True):
            entry = first if at == 0 else TableEntry(type="chunk", name=listed.name)
            self._list(
                structs.replace(
                    entry,
                    offset=piece.offset,
                    chunk_size=piece.size,
                    chunk_offset=at,
                    chunk_digest=piece.digest,
                    chunk_type="zeros" if hole else "",
                )
            )
            at += piece.size

    def _list(self, entry: TableEntry) -> None:
        self._table.write((b"," if self._listed else b"") + json.encode(entry))
        self._listed = True
        self._check_size()

    def _check_size(self, limit: int = TABLE_LIMIT) -> None:
        if self._table.size > limit:
            raise NoTableError(f"its table would have more than {limit >> 20} MiB")


def table_entry(found: TarEntry, raw: bytes) -> TableEntry:
    """Return what a table says of an entry, content aside, whose headers end ``raw``.

    It says what Go's readers of tars see there, to the letter. Raises NoTableError where they see
    something else than we do, or refuse it.
    """
    info, head = found.info, raw[-tar.BLOCK :]
    kind = TYPES.get(info.type)
    if kind is None or info.type == tarfile.CONTTYPE:
        raise NoTableError(f"{info.name!r} is of a kind that tables do not know")
    if kind != "reg" and info.size:
        raise NoTableError(f"{info.name!r} has content, which its kind has not")
    if (head[257:263] != b"ustar\0" and head[345:500].strip(b"\0")) or head[508:] == b"tar\0":
        raise NoTableError(f"{info.name!r} has a header of another format than POSIX tar")
    device = kind in {"char", "block"}
    if not device and (info.devmajor or info.devminor):
        raise NoTableError(f"{info.name!r} has a device number, but is no device")
    xattrs = attributes(found)
    try:
        "".join(xattrs).encode()
        entry = TableEntry(
            type=kind,
            name=_name(found, head).encode().decode(),
            link_name=info.linkname.encode().decode(),
            mode=info.mode,
            size=info.size,
            uid=info.uid,
            gid=info.gid,
            modtime=_time(found, "mtime", str(info.mtime)),
            accesstime=_time(found, "atime"),
            changetime=_time(found, "ctime"),
            dev_major=info.devmajor if device else 0,
            dev_minor=info.devminor if device else 0,
            xattrs=xattrs,
        )
    except UnicodeEncodeError as error:
        raise NoTableError(f"{info.name!r} has a name that is not UTF-8") from error
    return entry


def _path(name: str) -> str:
    """Return where an entry lies, however its name spells that."""
    return posixpath.normpath("/" + name.lstrip("/"))


def _name(found: TarEntry, head: bytes) -> str:
    """Return a name with the slash at its end, which Python's reader drops."""
    path = found.pax.get("path") or head[:100].partition(b"\0")[0]
    slash = "/" if path.endswith(b"/") and not found.info.name.endswith("/") else ""
    return found.info.name + slash


def _time(found: TarEntry, key: str, default: str = "") -> str:
    """Return one of an entry's times as tables have it; empty for none."""
    text = found.pax[key].decode("ascii", "replace") if key in found.pax else default
    try:
        return rfc3339(text) if text else ""
    except (InvalidOperation, OverflowError, ValueError) as error:
        why = f"{found.info.name!r} has no time that all read alike: {text!r}"
        raise NoTableError(why) from error


@lru_cache(maxsize=1024)  # mostly it is the same
def rfc3339(seconds: str) -> str:
    """Return seconds since 1970 as RFC 3339 has them, to the nanosecond.

    Raises ValueError, OverflowError or InvalidOperation for what is no such time.
    """
    whole, fraction = divmod(Decimal(seconds), 1)
    if fraction < 0:
        raise ValueError("readers round it differently")
    moment = _EPOCH + timedelta(seconds=int(whole))
    digits = f"{int(fraction * 10**9):09d}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' if digits else ''}{digits}Z"


def _joined(content: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a file's content into pieces of 4 MiB."""
    parts: list[bytes] = []
    size = 0
    for part in content:
        parts.append(part)
        size += len(part)
        if size == PIECE:  # what comes are whole mebibytes, but for a file's last
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def _footer(table: Place, split: Place) -> bytes:
    """Return the blob's last 64 bytes, which say once more where all this is."""
    words = (table.offset, table.size, table.plain, _KIND, split.offset, split.size, split.plain)
    return b"".join(word.to_bytes(8, "little") for word in words) + _MAGIC
