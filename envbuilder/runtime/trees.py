"""Layers as directories: each unpacked once, kept in the store, shared by every image on it.

A tree has the form that overlayfs reads: a deleted path is a character device 0:0, a directory that
hides what lies below carries an attribute (kernel docs, filesystems/overlayfs, "whiteouts and
opaque directories"). In a layer the same is said by ``.wh.`` names (image-spec, "Whiteouts").
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from envbuilder.layers.unpack import unpack
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Image, Layer
from envbuilder.model.progress import Progress, Step
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

_FOLDER = "trees"
_KIND, _RULES = "unpack", "no nodes, no set-id"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


def unpacked(image: Image, *, store: Store, progress: Progress) -> tuple[Path, ...]:
    """Return one directory per layer of ``image``, lowest first, unpacking those not yet there.

    Raises BuildError if a blob is missing from the store, or is not what its diff_id says.
    """
    _forget_unsafe(store)
    trees = {layer: _folder(store) / layer.digest.hex for layer in image.layers}
    if any(not tree.exists() for tree in trees.values()):
        with store.lock(_FOLDER):
            missing = [layer for layer, tree in trees.items() if not tree.exists()]
            total = sum(layer.size for layer in missing)
            with (
                progress.step("unpack", f"{len(missing)} layers", total=total) as step,
                ThreadPoolExecutor(os.cpu_count()) as pool,
            ):
                largest_first = sorted(missing, key=lambda layer: -layer.size)
                list(pool.map(lambda layer: _unpack(store, layer, step), largest_first))
    return tuple(trees.values())


def _forget_unsafe(store: Store) -> None:
    """Remove trees from before the rules of unpacking: they may hold an image's device nodes."""
    if store.record(_KIND, _RULES):
        return
    with store.lock(_FOLDER):
        if not store.record(_KIND, _RULES):
            folder = _folder(store)
            for tree in folder.iterdir() if folder.exists() else ():
                _remove(store, tree)
            store.put_record(_KIND, _RULES, value=True)


def prune_trees(store: Store) -> int:
    """Remove the trees of layers that are no longer in the store; return how many."""
    with store.lock(_FOLDER):
        folder = _folder(store)
        trees = folder.iterdir() if folder.exists() else ()
        gone = [tree for tree in trees if not store.has(Digest(tree.name))]
        for tree in gone:
            _remove(store, tree)
    return len(gone)


def _remove(store: Store, tree: Path) -> None:
    with store.scratch() as scratch:  # gone at once: half a tree would pass for a whole one
        _move(tree, scratch / "tree")


def list_trees(store: Store) -> dict[Digest, int]:
    """Return which layers are unpacked, and the bytes of disk that each takes."""
    folder = _folder(store)
    trees = sorted(folder.iterdir()) if folder.exists() else ()
    return {Digest(tree.name): _disk(tree) for tree in trees}


def _disk(tree: Path) -> int:
    blocks = 0
    for place, folders, files in os.walk(tree):
        blocks += sum(Path(place, name).lstat().st_blocks for name in (*folders, *files))
    return blocks * 512  # stat(2): whatever the file system's own blocks are


def read_text(trees: Iterable[Path], path: str) -> str:
    """Return the text of ``path`` in the topmost of ``trees`` that has it, else nothing."""
    for tree in reversed(tuple(trees)):
        file = tree / path
        if file.is_file() and not file.is_symlink():
            return file.read_text(errors="replace")
    return ""


def mark_deletions(tree: Path) -> None:
    """Turn the ``.wh.`` names of a layer into overlayfs's own marks."""
    for place, _, names in os.walk(tree):
        whiteouts = [name for name in names if name.startswith(_WHITEOUT)]
        if not whiteouts:
            continue
        folder = Path(place)
        mode = folder.stat().st_mode
        folder.chmod(0o700)  # the layer may have made it read-only
        for name in whiteouts:
            (folder / name).unlink()
            if name == _OPAQUE:
                _hide_below(folder)
            else:
                _delete(folder, name.removeprefix(_WHITEOUT))
        folder.chmod(stat.S_IMODE(mode))


def _delete(folder: Path, name: str) -> None:
    """Mark ``name`` as deleted; what the same layer puts in its place stays."""
    if name in {"", ".", ".."}:
        raise BuildError(f"a layer deletes {name!r} in {folder.name!r}, which names nothing")
    place = folder / name
    if not place.is_symlink() and place.is_dir():
        _hide_below(place)
    elif not os.path.lexists(place):  # a file hides what is below by itself
        os.mknod(place, stat.S_IFCHR, 0)


def _hide_below(folder: Path) -> None:
    os.setxattr(folder, "user.overlay.opaque", b"y")


def _move(tree: Path, place: Path) -> None:
    """Rename a tree into another folder; its root may be read-only, which would forbid it."""
    mode = stat.S_IMODE(tree.stat().st_mode)
    tree.chmod(mode | stat.S_IWUSR)
    tree.rename(place)
    place.chmod(mode)


def _folder(store: Store) -> Path:
    return (store.root / _FOLDER).absolute()


def _unpack(store: Store, layer: Layer, step: Step) -> None:
    if not store.has(layer.digest):
        raise BuildError(
            f"layer {layer.digest} ({layer.title or 'untitled'}) is not in the store {store.root}",
            hint="build again to make it anew",
        )
    with store.scratch() as scratch:
        made = scratch / "tree"
        made.mkdir(mode=0o755)
        unpack(store.path(layer.digest), layer.media_type, made, diff_id=layer.diff_id)
        mark_deletions(made)
        _folder(store).mkdir(exist_ok=True)
        _move(made, _folder(store) / layer.digest.hex)
    step.advance(layer.size)
