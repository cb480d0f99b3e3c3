"""A tar archive of files as a folder: plain files, folders and links, none of which climb out."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from envbuilder.model.errors import BuildError
from envbuilder.storage.temporary import translated

from .bounds import most_content, most_members

_CHUNK = 1 << 20


def unpack_archive(archive: BinaryIO, size: int, into: Path, *, name: str) -> None:
    """Unpack a gzip'ed tar of ``size`` bytes into the folder ``into``, modes but no owners.

    Raises BuildError for an archive ``name`` that is damaged, too large, or holds anything else.
    """
    content_left, members_left = most_content(size), most_members(size)
    try:
        with translated(into), tarfile.open(fileobj=archive, mode="r|gz") as tar:
            for member in tar:
                content_left, members_left = content_left - member.size, members_left - 1
                if content_left < 0 or members_left < 0:
                    raise BuildError(f"{name} holds more than is sensible")
                _make(tar, member, _inside(into, member.name, name), into, name)
        while archive.read(_CHUNK):  # only who has read to the end knows that all of it is right
            pass
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BuildError(f"{name} is damaged: {error}") from error


def _inside(into: Path, member: str, name: str) -> Path:
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts:
        raise BuildError(f"{name} holds {member!r}, which lies outside of it")
    place = into.joinpath(*path.parts)
    if not place.parent.resolve().is_relative_to(into.resolve()):
        raise BuildError(f"{name} holds {member!r}, behind a link that leads out of it")
    return place


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, into: Path, name: str) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    content = tar.extractfile(member) if member.isreg() else None
    if content is not None:
        with path.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
    elif member.issym():
        os.symlink(member.linkname, path)  # noqa: PTH211 - the text as it stands
    elif member.islnk():
        first = _inside(into, member.linkname, name)
        shutil.copy2(first, path, follow_symlinks=False)
    else:
        raise BuildError(f"{name} holds {member.name!r}, which is no file, folder or link")
