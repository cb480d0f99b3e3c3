"""Mount a folder whose files may be links, as the hub's cache lays out a model.

There ``snapshots/COMMIT`` holds names, and ``blobs`` beside it what they lead to: ``config.json``
is a link to ``../../blobs/HASH``. Mounted alone, a snapshot is a folder of links that dangle.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from envbuilder.layers.bounds import LINKS

from .command import Mount


def hub_repository(folder: Path) -> Path | None:
    """Return the repository of the hub's cache of which ``folder`` is a snapshot, or a part of one.

    None if it is none. ``folder`` is absolute, and no link itself.
    """
    above = (each.parent for each in folder.parents if each.name == "snapshots")
    return next((each for each in above if (each / "blobs").is_dir()), None)


def leading_out(folder: Path, mounted: Path) -> tuple[Path, str] | None:
    """Return the first link in ``folder`` that is lost if only ``mounted`` is seen, and its target.

    None if every one leads, hop by hop, to what lies in ``mounted``. Hidden folders hold no files
    of a model (``.git``, ``.venv``), and are passed over.
    """
    for link in _links(folder):
        target = _outside(link, mounted)
        if target is not None:
            return link, target
    return None


def mounts_at(folder: Path, target: str) -> tuple[Mount, ...]:
    """Mount ``folder`` at ``target``; of a snapshot, also its blobs, where its links look for them.

    At ``/model`` that is ``/blobs``: nothing lies above the root.
    """
    repository = hub_repository(folder)
    if repository is None:
        return (Mount(source=folder, target=target),)
    blobs = repository / "blobs"
    seen = posixpath.normpath(posixpath.join(target, os.path.relpath(blobs, folder)))
    return (Mount(source=folder, target=target), Mount(source=blobs, target=seen))


def _links(folder: Path) -> Iterator[Path]:
    """Yield the links in ``folder``, sorted within each of its folders; none is followed."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent, name) for name in sorted([*folders, *files]))
        yield from (path for path in paths if path.is_symlink())


def _outside(link: Path, mounted: Path) -> str | None:
    """Return where ``link`` leads if that, or a link on the way, is out of ``mounted``."""
    for _ in range(LINKS):
        if not link.is_symlink():
            return None
        target = link.readlink()
        link = Path(os.path.normpath(link.parent / target))
        if target.is_absolute() or not link.is_relative_to(mounted):
            return str(link)
    return None  # a circle leads nowhere: whoever reads the file says so
