"""Tables of contents of ``zstd:chunked`` layers, which podman takes files by instead of unpacking.

Such a puller never sees the tar: what it makes is what the table says, and each piece of a file is
checked against the table's hash of it. So a table is proven by comparing every entry with the tar.
Format: containers/storage, "zstd:chunked", version 1.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from envbuilder.model.codec import MisfitError, from_json
from envbuilder.model.errors import BuildError

from .untar import TarEntry, Untar

TYPES = {
    tarfile.REGTYPE: "reg",
    tarfile.AREGTYPE: "reg",
    tarfile.CONTTYPE: "reg",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.DIRTYPE: "dir",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
}
"""What a table calls the kinds of entries that a tar may have."""
PREFIX = "io.github.containers.zstd-chunked."
"""How the annotations of a layer begin that say where its table is, and its hash."""
TABLE_LIMIT = 64 << 20
"""Bytes of a table that we read, packed or not; one of 100,000 files has 40 MB."""
TABLE_FLOOR = 8 << 20
"""Bytes that a table may have whatever its blob has; one of 20,000 files has as many."""
_DEVICES = (tarfile.CHRTYPE, tarfile.BLKTYPE)
_XATTR = "SCHILY.xattr."
_EMPTY = f"sha256:{hashlib.sha256().hexdigest()}"
_Piece = tuple[int, str, bool]
"""Of a file: its length in bytes, its hash, and whether it is zeros, which may have no hash."""


class TableEntry(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename="camel",
):
    """One entry: a path, or a further piece (``chunk``) of the one before."""

    type: str
    name: str
    link_name: str = ""
    mode: int = 0
    size: int = 0
    uid: int = 0
    gid: int = 0
    modtime: str = ""
    accesstime: str = ""
    changetime: str = ""
    dev_major: int = 0
    dev_minor: int = 0
    xattrs: dict[str, str] = {}
    digest: str = ""
    offset: int = 0
    end_offset: int = 0
    chunk_size: int = 0
    chunk_offset: int = 0
    chunk_digest: str = ""
    chunk_type: str = ""


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A whole table; ``tar_split_digest`` names what a tar is put together by, for a push."""

    version: Literal[1]
    entries: tuple[TableEntry, ...]
    tar_split_digest: str = ""


def most_table(packed: int) -> int:
    """Return how many bytes the table of a blob of ``packed`` bytes may have."""
    return min(TABLE_LIMIT, TABLE_FLOOR + packed // 2)


def read_table(packed: bytes, size: int) -> Table:
    """Read a table from its zstd frames, which unpack to ``size`` bytes; raise BuildError."""
    from zstandard import ZstdDecompressor, ZstdError  # noqa: PLC0415 (rarely needed)

    try:
        unpacking = ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True)
        plain = unpacking.read(size + 1)  # and no more, whatever it unpacks to
        if len(plain) != size:
            raise BuildError(f"its table does not unpack to {size} bytes")
        found = from_json(plain, Table)
        json.loads(plain, object_pairs_hook=_once)
        return found
    except (ZstdError, ValueError, RecursionError, MisfitError) as error:
        raise BuildError(f"its table cannot be read: {error}") from error


def prove_table(tar: Untar, table: Table) -> None:
    """Raise BuildError unless ``table`` says just what the whole ``tar`` does, entry by entry."""
    listed = _grouped(table.entries)
    seen: set[str] = set()
    for found in tar.entries():
        name = found.info.name.rstrip("/")
        stated, pieces = next(listed, (None, ()))
        if stated is None:
            raise BuildError(f"its table does not list {name!r}")
        if name in seen:
            raise BuildError(f"{name!r} is there twice")
        seen.add(name)
        _compare(found, stated)
        if stated.type == "reg":
            _compare_content(tar.content(), stated, pieces)
    if (more := next(listed, None)) is not None:
        raise BuildError(f"its table lists {more[0].name!r}, which its tar has not")


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse a key that is there twice, for readers differ in which counts; keep nothing."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key is there twice")


def _grouped(entries: Sequence[TableEntry]) -> Iterator[tuple[TableEntry, Sequence[_Piece]]]:
    """Yield each path's entry with the pieces of its content."""
    at = 0
    while at < len(entries):
        end = at + 1
        while end < len(entries) and entries[end].type == "chunk":
            end += 1
        first, *more = entries[at:end]
        if any(each.name != first.name for each in more):
            raise BuildError(f"its table mixes the pieces of {first.name!r} with others")
        yield first, tuple(_pieces(first, more))
        at = end


def _pieces(first: TableEntry, more: Sequence[TableEntry]) -> Iterator[_Piece]:
    """Yield the pieces, which must follow each other from the first byte to the last.

    Pullers look files up by each hash that is stated, so there may be none that nobody compares.
    """
    if first.type != "reg":
        if more or first.digest or first.chunk_digest:
            raise BuildError(f"its table gives {first.name!r} content, which is no file")
        return
    if any(each.digest for each in more):
        raise BuildError(f"its table gives a piece of {first.name!r} the hash of a whole")
    whole = not more and not first.chunk_digest
    position = 0
    for each in (first, *more):
        size = each.chunk_size or first.size - position
        digest = each.digest if whole else each.chunk_digest
        if each.chunk_offset != position or size < 0 or each.chunk_type not in {"", "zeros"}:
            raise BuildError(f"its table tears {first.name!r}")
        zeros = each.chunk_type == "zeros"
        yield size, digest or ("" if zeros else _unnamed(first)), zeros
        position += size
    if position != first.size:
        raise BuildError(f"its table has {position} of the {first.size} bytes of {first.name!r}")


def _unnamed(entry: TableEntry) -> str:
    if entry.size:
        raise BuildError(f"its table does not hash {entry.name!r}")
    return _EMPTY


def _compare(found: TarEntry, stated: TableEntry) -> None:
    info = found.info
    ours = {
        "type": TYPES.get(info.type, "unknown"),
        "name": info.name.rstrip("/"),
        "link": info.linkname,
        "mode": info.mode,
        "size": info.size,
        "owner": (info.uid, info.gid),
        "time": int(info.mtime // 1),
        "attributes": attributes(found),
        "device": (info.devmajor, info.devminor) if info.type in _DEVICES else (0, 0),
    }
    theirs = {
        "type": stated.type,
        "name": stated.name.rstrip("/"),
        "link": stated.link_name,
        "mode": stated.mode,
        "size": stated.size,
        "owner": (stated.uid, stated.gid),
        "time": _seconds(stated),
        "attributes": stated.xattrs,
        "device": (stated.dev_major, stated.dev_minor),
    }
    wrong = [name for name, value in ours.items() if theirs[name] != value]
    if wrong:
        what = wrong[0]
        said = f"{what} of {info.name!r} is {theirs[what]!r}, not {ours[what]!r}"
        raise BuildError(f"its table says that the {said}")


def attributes(found: TarEntry) -> dict[str, str]:
    """Return an entry's extended attributes as a table has them, in base64."""
    return {
        key.removeprefix(_XATTR): base64.b64encode(value).decode()
        for key, value in found.pax.items()
        if key.startswith(_XATTR)
    }


def _seconds(stated: TableEntry) -> int:
    try:
        return int(
            datetime.fromisoformat(stated.modtime or "1970-01-01T00:00:00Z").timestamp() // 1
        )
    except (ValueError, OverflowError) as error:
        raise BuildError(f"its table gives {stated.name!r} no time: {stated.modtime!r}") from error


def _compare_content(
    content: Iterator[bytes], stated: TableEntry, pieces: Sequence[_Piece]
) -> None:
    """Hash the content piece by piece, and as a whole where the table does."""
    whole = hashlib.sha256()
    rest = memoryview(b"")
    for size, digest, is_zeros in pieces:
        part, left, zeros = hashlib.sha256(), size, True
        while left:
            rest = rest or memoryview(next(content, b""))
            if not rest:
                raise BuildError(f"{stated.name!r} ends early")
            taken, rest = rest[:left], rest[left:]
            left -= len(taken)
            part.update(taken)
            whole.update(taken)
            zeros = zeros and not any(taken)
        if digest not in {"", f"sha256:{part.hexdigest()}"} or (is_zeros and not zeros):
            raise BuildError(f"its table names other content for {stated.name!r}")
    if stated.digest not in {"", f"sha256:{whole.hexdigest()}"}:
        raise BuildError(f"its table names other content for {stated.name!r}")
