"""A user's own files as a layer: every byte as it was locked, streamed, with no clock.

Folders follow the rule of a Dockerfile's COPY: those that are there stay as they are, and those
that are missing belong to whom the files belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from isal import isal_zlib

from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer, canonical_json
from envbuilder.model.lock import FileTree, LockedFile
from envbuilder.storage.store import Store

from .below import Below, Owned
from .deflate import PIECE
from .tar import parents
from .writer import LayerWriter, layer_writer

_KIND = "own-files"
_FOLDER = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What a layer is to hold, by paths relative to the root: folders first, then files."""

    folders: Mapping[str, Owned]
    files: Mapping[str, LockedFile]
    owner: tuple[int, int]
    mode: int | None


def entries_of(
    tree: FileTree, places: Below, *, owner: tuple[int, int], mode: int | None
) -> Entries:
    """Say what lays ``tree`` on ``places``; raises BuildError if a link stands in its way."""
    into = places.real(tree.into)
    own = Owned(mode=_FOLDER, uid=owner[0], gid=owner[1])
    prefix = f"{into}/" if into else ""
    inner = {prefix + each.rstrip("/") for file in tree.files for each in parents(file.path)}
    for folder in sorted(inner):
        if places.real(folder) != folder:
            raise BuildError(
                f"files cannot go into /{folder}: the base has a link there",
                hint=f"name /{places.real(folder)} in `to`",
            )
    above = {each.rstrip("/") for each in (*parents(prefix), prefix) if each}
    missing = {each for each in above if each not in places.folders}
    files = {prefix + file.path: file for file in tree.files}
    for path in files:
        if path in places.folders:
            raise BuildError(f"files cannot replace /{path}: the base has a folder there")
    folders = dict.fromkeys(sorted(inner | missing), own)
    return Entries(folders=folders, files=files, owner=owner, mode=mode)


Content = Callable[[str, LockedFile], AbstractContextManager[BinaryIO]]
"""Opens the content of the file that is to lie at a path."""


def own_files_layer(
    store: Store, entries: Entries, *, title: str, content: Content | None = None
) -> Layer:
    """Make the layer of ``entries``, which ``store`` remembers.

    It holds the files, too, unless ``content`` opens them elsewhere. Raises BuildError for a file
    that the store lacks.
    """
    opened = content or (lambda _, file: store.open(file.sha256))
    key = _key(entries)
    found = store.record(_KIND, key, Layer)
    if found is None:
        with layer_writer(store) as out:
            for path, folder in sorted(entries.folders.items()):
                out.entry(f"{path}/", mode=folder.mode, owner=(folder.uid, folder.gid))
            for path, file in sorted(entries.files.items()):
                _write(out, path, file, entries, opened)
            found = out.finish()
        store.put_record(_KIND, key, found, blobs=[found.digest])
    return Layer(digest=found.digest, size=found.size, diff_id=found.diff_id, title=title)


def _write(
    out: LayerWriter, path: str, file: LockedFile, entries: Entries, opened: Content
) -> None:
    if file.link is not None:
        out.symlink(path, file.link, owner=entries.owner)
        return
    mode = entries.mode if entries.mode is not None else 0o755 if file.executable else 0o644
    out.begin(path, mode=mode, size=file.size, owner=entries.owner)
    crc = 0
    for piece in _pieces(opened(path, file)):
        crc = isal_zlib.crc32(piece, crc)
        for _ in out.plain(piece):
            pass
    out.end(crc=crc, size=file.size, deflated=False)


def _pieces(opened: AbstractContextManager[BinaryIO]) -> Iterator[bytes]:
    """Yield the content in pieces of one size, which shows nowhere in the layer."""
    with opened as content:
        while piece := content.read(PIECE):
            yield piece


def _key(entries: Entries) -> str:
    folders = {path: [each.mode, each.uid, each.gid] for path, each in entries.folders.items()}
    files = {
        path: [str(each.sha256), each.executable, each.link] for path, each in entries.files.items()
    }
    facts = {"folders": folders, "files": files, "owner": entries.owner, "mode": entries.mode}
    return canonical_json({"layout": 1, **facts}).decode()
