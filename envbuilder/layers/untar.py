"""Read a layer as a stream of tar entries, its decompressed bytes hashed on the way.

Formats: ustar, PAX and GNU long names; gzip of many members, zstd of many frames, or no
compression. ``tarfile`` parses each header; its own reader would copy every byte several times.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip
from isal.isal_zlib import IsalError

from envbuilder.model.errors import BuildError
from envbuilder.model.image import DOCKER_LAYER_GZIP, OCI_LAYER_GZIP, OCI_LAYER_TAR, OCI_LAYER_ZSTD
from envbuilder.model.reference import Digest
from envbuilder.storage.stream import REPAIR

from .bounds import Budget
from .tar import BLOCK

_PIECE = 1 << 20
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
# Names and attributes of one entry are read whole; anything longer is an attack on memory.
_META_LIMIT = 1 << 20
_DIGITS = 10  # of the length of a record, with the blank behind it
DAMAGES: tuple[type[Exception], ...] = (  # what reading a damaged tar raises
    tarfile.TarError,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    OverflowError,
    cast("type[Exception]", IsalError),  # its stub forgets the base class
)


class SparseFileError(BuildError):
    """A file of a tar is stored without its holes, in one of GNU's formats for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """A tar entry as its headers state it; ``pax`` holds its extended records."""

    info: tarfile.TarInfo
    pax: dict[str, bytes] = field(default_factory=dict)


class Untar:
    """The entries of a tar, in order; :func:`untar` opens one."""

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        self.budget = budget
        self.raw: bytearray | None = None
        """Takes all bytes that are no content (headers, padding) once somebody has set it."""
        self.has_defaults = False
        """Whether global headers came, with defaults for entries; here they change nothing."""
        self._stream = stream
        self._left = 0
        self._meta_left = _META_LIMIT

    def entries(self) -> Iterator[TarEntry]:
        """Yield each entry; its content may be taken (:meth:`content`) until the next one."""
        pax: dict[str, bytes] = {}
        while (info := self._header()) is not None:
            if info.type in _PAX:
                for key, value in _pax_records(self._metadata(info)):
                    self.budget.record()
                    pax[key] = value
            elif info.type in _LONG:
                key = "path" if info.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
                pax[key] = self._metadata(info).rstrip(b"\0")
            elif info.type == tarfile.XGLTYPE:
                self._metadata(info)  # defaults for what we do not use
                self.has_defaults = True
            else:
                entry = self._entry(info, pax)
                self.budget.member(entry.info.name, target=entry.info.linkname)
                yield entry
                self._skip()
                pax, self._meta_left = {}, _META_LIMIT

    def content(self) -> Iterator[bytes]:
        """Yield the content of the current entry in pieces of at most 1 MiB."""
        while self._left:
            piece = self._exactly(min(self._left, _PIECE))
            self._left -= len(piece)
            yield piece

    def rest(self, size: int = _PIECE) -> Iterator[bytes]:
        """Yield the bytes behind what was read, headers or not, in pieces of ``size`` bytes."""
        while piece := self._stream.read(size):
            yield piece

    def _entry(self, info: tarfile.TarInfo, pax: dict[str, bytes]) -> TarEntry:
        if info.type == tarfile.GNUTYPE_SPARSE or any(k.startswith("GNU.sparse") for k in pax):
            raise SparseFileError(f"{info.name!r} is a sparse file, which a layer may not hold")
        info.name = pax.get("path", b"").decode("utf-8", "surrogateescape") or info.name
        info.linkname = pax.get("linkpath", b"").decode("utf-8", "surrogateescape") or info.linkname
        for key, convert in (("size", int), ("uid", int), ("gid", int), ("mtime", float)):
            if key in pax:
                setattr(info, key, convert(pax[key]))
        if info.size < 0:
            raise self.budget.refuse(f"{info.name!r} states a size of {info.size} bytes")
        has_content = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
        self._left = info.size if has_content else 0
        self._padding = -self._left % BLOCK
        return TarEntry(info=info, pax=pax)

    def _skip(self) -> None:
        for _ in self.content():
            pass
        self._aside(self._padding)

    def _header(self) -> tarfile.TarInfo | None:
        block = self._stream.read(BLOCK)
        if self.raw is not None:
            self.raw += block
        if not block.strip(b"\0"):
            return None
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")

    def _metadata(self, info: tarfile.TarInfo) -> bytes:
        if info.size < 0:
            raise self.budget.refuse(f"an extended header cannot have {info.size} bytes")
        self._meta_left -= info.size
        if self._meta_left < 0:
            why = f"the headers of one entry have more than {_META_LIMIT} bytes"
            raise self.budget.refuse(why)
        return self._aside(info.size + -info.size % BLOCK)[: info.size]

    def _aside(self, size: int) -> bytes:
        data = self._exactly(size)
        if self.raw is not None:
            self.raw += data
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError("the tar ends in the middle of an entry")
        return data


@contextmanager
def untar(
    blob: Path, media_type: str, diff_id: Digest, *, within: Budget | None = None
) -> Iterator[Untar]:
    """Open the layer at ``blob``; at the end of the block, its tar must have been ``diff_id``.

    ``within`` is what is left for its image.

    Raises BuildError for a damaged layer and for an unknown ``media_type``.
    """
    with blob.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        with untar_stream(file, media_type, diff_id, blob.name, size=size, within=within) as tar:
            yield tar


@contextmanager
def untar_stream(
    blob: BinaryIO,
    media_type: str,
    diff_id: Digest,
    name: str,
    *,
    size: int,
    within: Budget | None = None,
) -> Iterator[Untar]:
    """Open a layer of ``size`` bytes that comes as a stream, as :func:`untar` does.

    ``name`` is for errors.
    """
    budget = Budget.of(
        size,
        lambda why: BuildError(f"layer {name}: {why}", hint="it is damaged or hostile"),
        within=within,
    )
    try:
        with _decompressed(blob, media_type) as plain:
            hashing = _Hashing(plain, budget)
            stream = io.BufferedReader(hashing, _PIECE)
            yield Untar(cast("BinaryIO", stream), budget)
            while stream.read(_PIECE):  # what follows the end mark belongs to the diff_id
                pass
    except DAMAGES as error:
        raise _damaged(name, str(error)) from error
    if hashing.digest() != diff_id:
        raise _damaged(name, f"its tar is {hashing.digest()}, not {diff_id}")


class _Hashing(io.RawIOBase):
    def __init__(self, plain: BinaryIO, budget: Budget) -> None:
        super().__init__()
        self._plain = plain
        self._budget = budget
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = int(self._plain.readinto(buffer))  # type: ignore[attr-defined]
        self._budget.content(count)
        self._hash.update(memoryview(buffer)[:count])
        return count

    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())


@contextmanager
def _decompressed(file: BinaryIO, media_type: str) -> Iterator[BinaryIO]:
    if media_type in (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP):
        with igzip.IGzipFile(fileobj=file) as plain:  # type: ignore[no-untyped-call]
            yield cast("BinaryIO", plain)
    elif media_type == OCI_LAYER_ZSTD:
        from zstandard import ZstdDecompressor, ZstdError  # noqa: PLC0415 (rarely needed)

        try:
            with ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain:
                yield cast("BinaryIO", plain)
        except ZstdError as error:
            raise EOFError(str(error)) from error
    elif media_type == OCI_LAYER_TAR:
        yield file
    else:
        raise BuildError(
            f"cannot unpack layers of type {media_type!r}: expected tar, tar+gzip or tar+zstd"
        )


def _pax_records(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        start = data.find(b" ", at, at + _DIGITS) + 1
        end = at + int(data[at : start or at])
        record = data[start:end]
        if end <= start or end > len(data) or not record.endswith(b"\n"):
            raise tarfile.HeaderError("damaged PAX record")
        key, _, value = record[:-1].partition(b"=")
        yield key.decode("utf-8", "surrogateescape"), value
        at = end


def _damaged(name: str, why: str) -> BuildError:
    return BuildError(
        f"layer {name} is damaged: {why}",
        hint=REPAIR,
    )
