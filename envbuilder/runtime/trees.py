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

from envbuilder.image import Image, Layer
from envbuilder.layers.store import Store
from envbuilder.layers.unpack import unpack
from envbuilder.progress import Progress, Step

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


def unpacked(image: Image, *, store: Store, progress: Progress) -> tuple[Path, ...]:
    """Return one directory per layer of ``image``, lowest first, unpacking those not yet there.

    Raises BuildError where a blob is missing from the store or is not what its digest says.
    """
    trees = {layer: _tree(store, layer) for layer in image.layers}
    if any(not tree.exists() for tree in trees.values()):
        with store.lock("trees"):
            missing = [layer for layer, tree in trees.items() if not tree.exists()]
            total = sum(layer.size for layer in missing)
            with (
                progress.step("unpack", f"{len(missing)} layers", total=total) as step,
                ThreadPoolExecutor(os.cpu_count()) as pool,
            ):
                list(pool.map(lambda layer: _unpack(store, layer, step), missing))
    return tuple(trees.values())


def read_text(trees: Iterable[Path], path: str) -> str:
    """Return the text of ``path`` in the topmost of ``trees`` that has it, else nothing."""
    for tree in reversed(tuple(trees)):
        file = tree / path
        if file.is_file() and not file.is_symlink():
            return file.read_text(errors="replace")
    return ""


def _tree(store: Store, layer: Layer) -> Path:
    return (store.root / "trees" / layer.diff_id.hex).absolute()


def _unpack(store: Store, layer: Layer, step: Step) -> None:
    with store.scratch() as scratch:
        made = scratch / "tree"
        made.mkdir(mode=0o755)
        unpack(store.path(layer.digest), layer.media_type, made, diff_id=layer.diff_id)
        mark_deletions(made)
        tree = _tree(store, layer)
        tree.parent.mkdir(exist_ok=True)
        made.rename(tree)
    step.advance(layer.size)


def mark_deletions(tree: Path) -> None:
    """Turn the ``.wh.`` names of a layer into overlayfs's own marks."""
    for folder, _, names in os.walk(tree):
        for name in names:
            if not name.startswith(_WHITEOUT):
                continue
            Path(folder, name).unlink()
            if name == _OPAQUE:
                os.setxattr(folder, "user.overlay.opaque", b"y")
            else:
                os.mknod(Path(folder, name.removeprefix(_WHITEOUT)), stat.S_IFCHR, 0)
