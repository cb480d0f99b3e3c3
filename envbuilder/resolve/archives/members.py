"""The members of an sdist, read with the suspicion that a stranger's archive deserves.

Tar (plain, gzip, bzip2, xz) and zip, told apart by their first bytes. All lies in one folder, as in
every sdist (PEP 517), which is left out of the paths. What climbs out, links out, is a device, or
inflates without end is refused; so is a member below a file. The bounds are those of layers.
"""

from __future__ import annotations

import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from envbuilder.layers import packed
from envbuilder.layers.bounds import Budget
from envbuilder.layers.untar import Untar
from envbuilder.model.errors import BuildError

Kind = Literal["file", "folder", "link", "same"]

_ZIP = b"PK\x03\x04"
_USTAR = slice(257, 262)  # where a tar says so
_PIECE = 1 << 20
_TARGET = 4096  # bytes of a link's target
_KINDS: Mapping[bytes, Kind] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "same",
}
_DAMAGES: tuple[type[Exception], ...] = (
    tarfile.TarError,
    zipfile.BadZipFile,
    *packed.DAMAGES,  # and a disk's
    ValueError,
    OverflowError,
    NotImplementedError,  # zip's rarer compressions
    RuntimeError,  # an encrypted zip
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member: its ``path`` below the archive's folder, and its ``content``, to be read at once.

    ``target`` is what a link points to, as it says it, or the member that a "same" one repeats.
    ``time`` is in seconds since 1970.
    """

    path: str
    kind: Kind
    executable: bool = False
    target: str = ""
    time: int = 0
    content: Iterator[bytes] = field(default_factory=lambda: iter(()))


def is_archive(start: bytes) -> bool:
    """Return whether a file that begins with ``start`` is a tar or zip of some kind."""
    return start.startswith((_ZIP, *packed.STARTS)) or start[_USTAR] == b"ustar"


def members(file: Path, name: str) -> Iterator[Member]:
    """Yield the members of the archive ``file``, which errors call ``name``.

    Raises BuildError for one that is damaged, or that no honest sdist has.
    """
    budget = Budget.of(file.stat().st_size, lambda why: _refused(name, why))
    with _damage_told(name), file.open("rb") as stream:
        start = stream.read(_USTAR.stop)
        stream.seek(0)
        read = _in_zip if start.startswith(_ZIP) else _in_tar
        root = ""
        for member in read(stream, budget):
            folder, parts = _place(member.path, name)
            if root not in {"", folder}:
                raise _refused(name, f"it holds {folder!r} beside {root!r}, not one folder")
            root = folder
            if not parts and member.kind == "folder":
                continue
            yield _within(member, folder, parts, name)
            for _ in member.content:  # what nobody read counts all the same
                pass
        if not root:
            raise _refused(name, "it holds nothing")


def _within(member: Member, folder: str, parts: list[str], name: str) -> Member:
    """Return ``member`` with its path below the archive's ``folder``, its target checked."""
    target = member.target
    if not parts:
        raise _refused(name, f"{member.path!r} lies outside of its folder")
    if member.kind == "same":
        other, inner = _place(target, name)
        if other != folder or not inner:
            raise _refused(name, f"{member.path!r} is a link to {target!r}, outside of its folder")
        target = "/".join(inner)
    elif member.kind == "link" and not stays_inside("/".join(parts), target):
        raise _refused(name, f"{member.path!r} is a link to {target!r}, outside of its folder")
    return replace(member, path="/".join(parts), target=target)


def stays_inside(path: str, target: str) -> bool:
    """Return whether a link at ``path`` to ``target`` leads no higher than where paths begin.

    ``..`` counts only in front: behind another link's name it would lead anywhere.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    climbs = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    inside = not posixpath.isabs(target) and climbs <= path.count("/")
    return bool(target) and inside and ".." not in parts[climbs:]


def _place(path: str, name: str) -> tuple[str, list[str]]:
    """Split a path into the archive's own folder and what lies below it."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/") or ".." in parts or "\0" in path or not parts:
        raise _refused(name, f"it has the path {path!r}")
    return parts[0], parts[1:]


def _in_tar(stream: BinaryIO, budget: Budget) -> Iterator[Member]:
    tar = Untar(packed.unpacked(stream, budget), budget)
    for entry in tar.entries():
        info = entry.info
        if info.type not in _KINDS:
            raise budget.refuse(f"{info.name!r} is a device, a pipe or the like")
        yield Member(
            path=info.name,
            kind=_KINDS[info.type],
            executable=bool(info.mode & 0o111),
            target=info.linkname,
            time=int(info.mtime),
            content=tar.content(),
        )


def _in_zip(stream: BinaryIO, budget: Budget) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            budget.member(info.filename)
            mode = info.external_attr >> 16
            is_link = stat.S_ISLNK(mode)
            if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
                raise budget.refuse(f"{info.filename!r} is a device, a pipe or the like")
            content = _counted(_inflated(archive, info), budget)
            yield Member(
                path=info.filename,
                kind="folder" if info.is_dir() else "link" if is_link else "file",
                executable=bool(mode & 0o111),
                target=_target(content, info, budget) if is_link else "",
                time=int(datetime(*info.date_time, tzinfo=UTC).timestamp()),
                content=content,
            )


def _target(content: Iterator[bytes], info: zipfile.ZipInfo, budget: Budget) -> str:
    budget.hold(info.filename, info.file_size, limit=_TARGET)
    return b"".join(content).decode()


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as source:
        while piece := source.read(_PIECE):
            yield piece


def _counted(pieces: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    for piece in pieces:
        budget.content(len(piece))
        yield piece


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as error:
        raise BuildError(
            f"{name} is no sound archive: {error or type(error).__name__}",
            hint="it is damaged, or no sdist at all",
        ) from error


def _refused(name: str, why: str) -> BuildError:
    return BuildError(f"{name} is refused: {why}", hint="no honest sdist is made like that")
