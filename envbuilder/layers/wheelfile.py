"""A wheel opened as a zip, strictly: what two readers could understand differently is refused.

Format: PKWARE APPNOTE 6.3 as far as the wheel format (PyPA "Binary distribution format") allows
it: stored or deflated members, zip64, data descriptors.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from isal import isal_zlib

from envbuilder.model.errors import BuildError

from .bounds import Budget
from .deflate import DeflateError, inflate, read_at
from .wheel_rules import broken_member

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_ENCRYPTED, _PATCHED, _STRONG, _UTF8 = 0x1, 0x20, 0x40, 0x800
# Bytes of a file that is read whole; torch's RECORD, among the longest, has 1 MB.
_WHOLE = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a wheel: ``packed`` bytes at ``offset`` of the file hold ``size`` bytes."""

    name: str
    deflated: bool
    crc: int
    size: int
    packed: int
    offset: int
    executable: bool

    @property
    def is_directory(self) -> bool:
        """Return whether the member only names a directory."""
        return self.name.endswith("/")


def unfit(filename: str, why: str) -> BuildError:
    """Say that a wheel cannot be used."""
    return BuildError(
        f"{filename}: {why}", hint="the wheel is damaged or hostile: pin another build of it"
    )


class WheelFile:
    """An open wheel: its members by name, and their content, checked."""

    def __init__(self, fd: int, filename: str) -> None:
        self.fd = fd
        self.filename = filename
        self._budget = Budget.of(os.fstat(fd).st_size, lambda why: unfit(filename, why))
        self.members = {
            member.name: member for member in _Directory(fd, filename, self._budget).members()
        }

    @classmethod
    @contextmanager
    def open(cls, path: Path, filename: str) -> Iterator[WheelFile]:
        """Open the wheel at ``path``, whose own name is ``filename``. Raises BuildError."""
        fd = os.open(path, os.O_RDONLY)
        try:
            yield cls(fd, filename)
        finally:
            os.close(fd)

    def pieces(self, member: Member) -> Iterator[tuple[bytes, bytes]]:
        """Yield (packed piece, its content) of a member; raise BuildError if it lies.

        Memory stays near 2 MiB whatever the member's size is.
        """
        raw = read_at(self.fd, member.offset, member.packed)
        crc = 0
        try:
            for piece, content in (
                inflate(raw, member.size) if member.deflated else ((p, p) for p in raw)
            ):
                crc = isal_zlib.crc32(content, crc)
                yield piece, content
        except (DeflateError, EOFError) as error:
            raise unfit(self.filename, f"member {member.name!r}: {error}") from error
        if crc != member.crc:
            raise unfit(self.filename, f"member {member.name!r} does not match its CRC-32")

    def read(self, name: str, *, limit: int = _WHOLE) -> bytes:
        """Return the whole content of a member of at most ``limit`` bytes.

        Raises BuildError if there is none, if it has more, or all that were read have too many.
        """
        member = self.members.get(name)
        if member is None:
            raise unfit(self.filename, f"not a wheel, for it has no {name}")
        self._budget.hold(name, member.size, limit=limit)
        return b"".join(content for _, content in self.pieces(member))

    def starts_with(self, member: Member, prefix: bytes) -> bool:
        """Return whether a member's content starts with ``prefix``."""
        head = b""
        for _, content in self.pieces(member):
            head += content
            if len(head) >= len(prefix):
                break
        return head.startswith(prefix)


class _Directory:
    """The central directory of a zip and the checks that it must pass."""

    def __init__(self, fd: int, filename: str, budget: Budget) -> None:
        self._fd = fd
        self._filename = filename
        self._budget = budget

    def members(self) -> list[Member]:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            try:
                archive = zipfile.ZipFile(file)
            except (
                zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError
            ) as error:  # fmt: skip  # OSError: a directory that starts before the file does
                raise unfit(self._filename, f"not a wheel: {error}") from error
        members = [self._member(info) for info in archive.infolist()]
        self._unique(members)
        self._apart(members, archive.start_dir)
        return members

    def _member(self, info: zipfile.ZipInfo) -> Member:
        self._budget.member(info.orig_filename)
        self._budget.content(info.file_size)
        mode = info.external_attr >> 16
        if why := broken_member(info.orig_filename):
            self._refuse(info.orig_filename, why)
        self._plain_kind(info, mode)
        if info.flag_bits & (_ENCRYPTED | _STRONG | _PATCHED):
            self._refuse(info.orig_filename, "is encrypted or a patch")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self._refuse(info.orig_filename, f"has compression method {info.compress_type}")
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            self._refuse(info.orig_filename, "is stored, but states two different sizes")
        return Member(
            name=info.orig_filename,  # `filename` ends at a NUL
            deflated=info.compress_type == zipfile.ZIP_DEFLATED,
            crc=info.CRC,
            size=info.file_size,
            packed=info.compress_size,
            offset=self._data_offset(info),
            executable=bool(mode & 0o111),
        )

    def _plain_kind(self, info: zipfile.ZipInfo, mode: int) -> None:
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFLNK:
            self._refuse(info.orig_filename, "is a symbolic link")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            self._refuse(info.orig_filename, "is not a regular file")
        if info.orig_filename.endswith("/") != (kind == stat.S_IFDIR) and kind:
            self._refuse(
                info.orig_filename, "is a directory by its name or its mode, but not by both"
            )
        if info.orig_filename.endswith("/") and info.file_size:
            self._refuse(info.orig_filename, "is a directory with content")

    def _data_offset(self, info: zipfile.ZipInfo) -> int:
        """Find a member's data behind its local header, which must agree with the directory."""
        if info.header_offset < 0:  # the directory says that it lies further on than it does
            self._refuse(info.orig_filename, "lies outside of the file")
        name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
        head = os.pread(self._fd, _LOCAL.size + len(name), info.header_offset)
        if len(head) < _LOCAL.size + len(name):
            self._refuse(info.orig_filename, "lies outside of the file")
        signature, _, _, method, *_, name_size, extra_size = _LOCAL.unpack_from(head)
        if (signature, method, name_size, head[_LOCAL.size :]) != (
            b"PK\x03\x04",
            info.compress_type,
            len(name),
            name,
        ):
            self._refuse(info.orig_filename, "has a local header that contradicts the directory")
        return info.header_offset + _LOCAL.size + int(name_size) + int(extra_size)

    def _unique(self, members: list[Member]) -> None:
        seen: set[str] = set()
        for member in members:
            name = member.name.removesuffix("/")
            if name in seen:
                self._refuse(name, "is there twice")
            seen.add(name)

    def _apart(self, members: list[Member], directory_offset: int) -> None:
        """Refuse members whose data overlap: the trick behind the densest zip bombs."""
        end, before = 0, ""
        for member in sorted(members, key=lambda one: (one.offset, one.packed)):
            if member.offset < end:
                self._refuse(member.name, f"overlaps {before!r}")
            end, before = member.offset + member.packed, member.name
        if end > directory_offset:
            self._refuse(before, "overlaps the zip's directory")

    def _refuse(self, name: str, why: str) -> NoReturn:
        raise unfit(self._filename, f"member {name!r} {why}")
