"""A user's own files as a layer: every byte as it was locked, streamed, with no clock.

Folders follow the rule of a Dockerfile's COPY: those that are there stay as they are, and those
that are missing belong to whom the files belong to. Bytecode of a module that a file replaces is
whited out: Python would run it, not the file (PEP 552's unchecked hashes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import BinaryIO

from isal import isal_zlib

from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer, canonical_json
from envbuilder.model.lock import FileTree, LockedFile
from envbuilder.storage.store import Store

from .below import Below, Owned
from .contents import WHITEOUT, source_of
from .deflate import PIECE
from .tar import parents
from .writer import LayerWriter, layer_writer

_KIND = "own-files"
_FOLDER = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What a layer is to hold, by paths relative to the root: folders first, then files.

    ``removed`` is bytecode below that no longer is its source's.
    """

    folders: Mapping[str, Owned]
    files: Mapping[str, LockedFile]
    owner: tuple[int, int]
    mode: int | None
    removed: frozenset[str] = frozenset()


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
    entries = Entries(folders=folders, files=files, owner=owner, mode=mode)
    return replace(entries, removed=_hiding(laid(places, entries), entries))


def laid(places: Below, entries: Entries) -> Below:
    """Return what ``places`` show once ``entries`` lie on them; their own bytecode is not known."""
    links = {path: to for path, to in places.links.items() if path not in entries.files}
    links |= {path: each.link for path, each in entries.files.items() if each.link is not None}
    gone = entries.removed | entries.files.keys()
    return replace(
        places,
        folders={**places.folders, **entries.folders},
        links=links,
        bytecode=tuple(path for path in places.bytecode if path not in gone),
    )


def _hiding(shown: Below, entries: Entries) -> frozenset[str]:
    """Find the bytecode of modules that are ``entries``, or links to them, in what is ``shown``."""
    if not any(path.endswith(".py") for path in entries.files):
        return frozenset()
    return frozenset(
        path
        for path in shown.bytecode
        if (module := source_of(path)) is not None
        and (module in entries.files or _end(shown, module) in entries.files)
    )


def _end(shown: Below, path: str) -> str:
    try:
        return shown.real(path)
    except BuildError:  # links in a circle are no module
        return path


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
            for path in sorted(entries.removed):
                place, _, name = path.rpartition("/")
                out.entry(f"{place}/{WHITEOUT}{name}", mode=0o644)
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
    removed = {"removed": sorted(entries.removed)} if entries.removed else {}
    return canonical_json({"layout": 1, **facts, **removed}).decode()
