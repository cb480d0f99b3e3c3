"""The tar of a fresh root file system, cut into layers that no clock and no host marks.

What Debian's tools leave behind differs between two runs or serves only the installation: caches,
logs, backups, the builder's host name and name servers, device nodes. It goes. Order is the
source's, which ``tar --sort=name`` made; owners, modes and extended attributes stay.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from fnmatch import translate
from typing import BinaryIO

from envbuilder.layers.installed import is_system_document
from envbuilder.layers.tar import DIRECTORY, FILE, HARDLINK, SYMLINK, header, padding
from envbuilder.model.errors import BuildError

from .cut import Cut

_CHUNK = 1 << 20

# As in Debian's slim images: nobody reads manuals in a container; licences stay. It becomes part
# of the image, for what is installed later; what mmdebstrap unpacks before dpkg runs, settle drops.
SLIM = """\
force-unsafe-io
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/groff/*
path-exclude /usr/share/info/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""

_LEFTOVER = re.compile(
    r"""(dev|proc|sys|tmp|var/tmp) /.+
    | run/(?!lock$).+
    | etc/(hostname|resolv\.conf|\.pwd\.lock|(passwd|group|shadow|gshadow|subuid|subgid)-)
    | etc/apt/sources\.list
    | var/cache/(apt|ldconfig|fontconfig|man)/.+
    | var/cache/debconf/.+-old
    | var/lib/apt/(lists/.+|extended_states)
    | var/lib/dbus/machine-id
    | var/lib/dpkg/(.+-old|lock|lock-frontend|triggers/Lock)
    """,
    re.VERBOSE,
)
_LOG = re.compile(r"var/log/.+")
_KEPT_TYPES = frozenset({FILE, DIRECTORY, SYMLINK, HARDLINK})


def _slim_patterns(keyword: str) -> re.Pattern[str]:
    rules = (line.partition(" /") for line in SLIM.splitlines())
    return re.compile("|".join(translate(glob) for word, _, glob in rules if word == keyword))


_EXCLUDED, _INCLUDED = _slim_patterns("path-exclude"), _slim_patterns("path-include")


def settle(source: BinaryIO, cut: Cut) -> dict[str, bytes]:
    """Copy a root file system's tar into ``cut`` in its settled form.

    Returns the documents that tell of its packages, by path. Reads ``source`` to its end. Raises
    BuildError for what a layer cannot hold, tarfile.ReadError for no tar.
    """
    documents: dict[str, bytes] = {}
    with tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK) as tar:
        for member in tar:
            path = member.name.removeprefix("./")
            if path in {"", "."} or is_leftover(path, member):
                continue
            head = _header(path, member)
            if member.isdir():
                cut.folder(path, head)
                continue
            write = cut.file(path, head, link=_hard_link(member))
            if member.isreg():
                keep = is_system_document(path)
                content = _copy(tar, member, write, keep=keep)
                documents |= {path: content} if keep else {}
    while source.read(_CHUNK):
        pass
    cut.finish()
    return documents


def is_leftover(path: str, member: tarfile.TarInfo) -> bool:
    """Return whether an entry only served the installation, or a slim image goes without it."""
    if _LEFTOVER.fullmatch(path) or (_LOG.fullmatch(path) and not member.isdir()):
        return True
    if _EXCLUDED.fullmatch(path) and not _INCLUDED.fullmatch(path):
        return not (member.isdir() and path.startswith("usr/share/doc/"))
    return False


def _header(path: str, member: tarfile.TarInfo) -> bytes:
    """Announce ``member`` without what a clock or a host put there."""
    if member.type not in _KEPT_TYPES:
        raise BuildError(f"a layer cannot hold {path}: it is a device, a pipe or a socket")
    records = member.pax_headers.items()
    return header(
        f"{path}/" if member.isdir() else path,
        mode=member.mode,
        kind=member.type,
        size=member.size if member.isreg() else 0,
        link=_hard_link(member) or member.linkname,
        owner=(member.uid, member.gid),
        attributes={key: text for key, text in records if key.startswith("SCHILY.xattr.")},
    )


def _hard_link(member: tarfile.TarInfo) -> str | None:
    return member.linkname.removeprefix("./") if member.islnk() else None


def _copy(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    write: Callable[[bytes], object],
    *,
    keep: bool,
) -> bytes:
    kept = []
    content = tar.extractfile(member)
    while content and (piece := content.read(_CHUNK)):
        write(piece)
        if keep:
            kept.append(piece)
    write(padding(member.size))
    return b"".join(kept)
