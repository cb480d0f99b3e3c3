"""One file of an image, read from its trees as a container would see it, without mounting them.

Nothing outside of the trees is ever looked at: every name on the way is looked up by itself, so
that a link to ``/etc`` means the image's own ``etc``. What hides what is as in overlayfs (kernel
docs, filesystems/overlayfs): a file hides whatever lies below, a device 0:0 deletes, a folder with
the attribute "opaque" hides the folders below.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from envbuilder.layers.bounds import LINKS, PARTS, USERS
from envbuilder.model.errors import SmokeError

_OPAQUE = "user.overlay.opaque"
_Folders = tuple[Path, ...]
"""The folders that a container sees as one, the topmost first."""


def read_text(trees: Iterable[Path], path: str) -> str:
    """Return the text of ``path`` in the image of ``trees``, lowest first; nothing without one.

    Raises SmokeError for more than a list of users can have, and for what we may not read.
    """
    try:
        file = _find(tuple(trees)[::-1], path)
        text = b"" if file is None else _read(file)
    except OSError as error:
        raise SmokeError(f"cannot read /{path} of the image: {error.strerror}") from error
    if len(text) > USERS:
        raise SmokeError(
            f"/{path} of the image has more than {USERS >> 20} MiB",
            hint="the image is damaged or hostile",
        )
    return text.decode(errors="replace")


def _find(roots: _Folders, path: str) -> Path | None:
    """Return the file that ``path`` leads to; None for links that lead nowhere or in a circle."""
    way = [roots]
    rest = _parts(path)
    links = 0
    for _ in range(PARTS):
        if not rest:
            return None  # a folder
        part = rest.pop()
        if part == "..":
            way = way[:-1] or way
            continue
        found, folders = _seen(way[-1], part)
        if folders:
            way.append(folders)
        elif found is None:
            return None
        elif found.is_symlink():
            links += 1
            target = os.readlink(found)  # noqa: PTH115 - the text as it stands
            rest += _parts(target)
            way = way[:1] if target.startswith("/") else way
            if links > LINKS:
                return None
        else:
            return None if rest else found
    return None


def _seen(folders: _Folders, name: str) -> tuple[Path | None, _Folders]:
    """Say what ``name`` is in ``folders``: a file or link, or the folders that are seen as one."""
    seen: list[Path] = []
    for folder in folders:
        place = folder / name
        try:
            mode = place.lstat().st_mode
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                raise
            continue
        if not stat.S_ISDIR(mode):
            is_first = not seen and not stat.S_ISCHR(mode)
            return (place if is_first else None), tuple(seen)
        seen.append(place)
        if _OPAQUE in os.listxattr(place):
            break
    return None, tuple(seen)


def _read(file: Path) -> bytes:
    """Read a little more than the limit, if there is as much."""
    if not stat.S_ISREG(file.lstat().st_mode):
        return b""
    with file.open("rb") as opened:
        return opened.read(USERS + 1)


def _parts(path: str) -> list[str]:
    """Return the names in ``path``, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]
