"""Layers as directories: each unpacked once, kept in the store, shared by every image on it.

A tree has the form that overlayfs reads: a deleted path is a character device 0:0, a directory that
hides what lies below carries an attribute (kernel docs, filesystems/overlayfs, "whiteouts and
opaque directories"). In a layer the same is said by ``.wh.`` names (image-spec, "Whiteouts").

Who runs a container on trees holds their layers (``oci.py``), so that none of its files goes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex

from msgspec import Struct

from envbuilder.layers.bounds import Budget
from envbuilder.layers.unpack import unpack
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer
from envbuilder.model.owner import make_folder
from envbuilder.model.progress import Progress, Step
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated

_FOLDER = "trees"
_KIND = "unpacked"
_LAYOUT = 2
"""Raise it whenever the same layer is unpacked into another tree by our own doing."""
_HEX = re.compile(r"[0-9a-f]{64}")
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class UnpackedTree(Struct, frozen=True, kw_only=True):
    """What is recorded of a tree: the layer that it was made of, and how it was left then."""

    layout: int
    layer: Layer
    fingerprint: Digest


def unpacked(layers: Sequence[Layer], *, store: Store, progress: Progress) -> tuple[Path, ...]:
    """Return the directory of each of ``layers``, in order, unpacking those not yet there.

    A tree that changed since it was unpacked is made anew. Raises BuildError if a blob is missing
    from the store, or is not what its diff_id says.
    """
    missing = [each for each in dict.fromkeys(layers) if not is_sound(store, each.digest)]
    if missing:
        total = sum(layer.size for layer in missing)
        with (
            progress.step("unpack", f"{len(missing)} layers", total=total) as step,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            budget = Budget.of_image("an image", total)
            largest_first = sorted(missing, key=lambda layer: -layer.size)
            list(pool.map(lambda layer: _unpack(store, layer, step, budget), largest_first))
    return tuple(tree_of(store, layer.digest) for layer in layers)


def tree_of(store: Store, layer: Digest) -> Path:
    """Name the directory of a layer, there or not."""
    return _folder(store) / layer.hex


def is_sound(store: Store, layer: Digest) -> bool:
    """Return whether the layer's tree is there, and is as it was left when it was unpacked.

    Looked at once in a process. That compares inodes, sizes and times of change, which no write
    leaves as they were; what a failing disk does behind them, ``cache verify`` finds.
    """
    tree = tree_of(store, layer)
    try:
        inode = tree.stat().st_ino  # another one where somebody removed it, and made it anew
    except FileNotFoundError:
        return False
    if store.verified.holds(tree, inode):
        return True
    known = store.record(_KIND, _key(store, layer), UnpackedTree)
    if known is None or known.layout != _LAYOUT or not tree.is_dir():
        return False
    if known.fingerprint != _fingerprint(tree):
        return False
    store.verified.add(tree, inode)
    return True


def recorded(store: Store, layer: Digest) -> UnpackedTree | None:
    """Return what is recorded of the layer's tree, if anything is."""
    return store.record(_KIND, _key(store, layer), UnpackedTree)


def prune_trees(store: Store) -> int:
    """Remove the trees of layers that are no longer in the store; return how many.

    What a container runs on stays.
    """
    _sweep(store)
    return sum(_prune(store, layer) for layer in list_layers(store) if not store.has(layer))


def drop_tree(store: Store, layer: Digest) -> None:
    """Remove the layer's tree; the next run that needs it unpacks it again.

    A container that runs on it keeps its files; a later prune removes those.
    """
    with store.lock(f"tree-{layer.hex}"):
        _drop(store, layer)


def list_layers(store: Store) -> list[Digest]:
    """Return which layers are unpacked for this user, in order."""
    names = (tree.name for tree in _folder(store).glob("*"))
    return sorted(Digest(name) for name in names if _HEX.fullmatch(name))


def list_trees(store: Store) -> dict[Digest, int]:
    """Return which layers are unpacked, and the bytes of disk that each takes."""
    return {layer: _disk(tree_of(store, layer)) for layer in list_layers(store)}


@contextmanager
def holding_tree(store: Store, layer: Digest) -> Iterator[Callable[[], None]]:
    """Keep the layer's tree as it is for the block's time; what this gives removes it."""
    with store.lock(f"tree-{layer.hex}"):
        yield partial(_drop, store, layer)


def _disk(tree: Path) -> int:
    blocks = 0
    for place, folders, files in os.walk(tree):
        blocks += sum(Path(place, name).lstat().st_blocks for name in (*folders, *files))
    return blocks * 512  # stat(2): whatever the file system's own blocks are


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
    """Name the folder of this user's trees: root's hold owners, which no other user can give."""
    own = not store.root.exists() or store.root.stat().st_uid == os.geteuid()
    return (store.root / (_FOLDER if own else f"{_FOLDER}-{os.geteuid()}")).absolute()


def _aside(store: Store) -> Path:
    """Name the folder of trees that gave way to others while containers ran on them."""
    folder = _folder(store)
    return folder.with_name(f"{folder.name}-aside")


def _key(store: Store, layer: Digest) -> str:
    return f"{_folder(store).name}/{layer.hex}"


def _fingerprint(tree: Path) -> Digest:
    """Hash what the file system says of every file: under a second for a hundred thousand."""
    found = hashlib.sha256()
    folders = [os.fspath(tree)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                inside = sorted((each.name, each.stat(follow_symlinks=False)) for each in entries)
        except PermissionError:  # what it holds nobody but root can change either
            continue
        stamps = [
            (name, at.st_ino, at.st_mode, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
            for name, at in inside
        ]
        found.update(os.fsencode(repr((folder.removeprefix(str(tree)), stamps))))
        folders += [f"{folder}/{name}" for name, at in inside if stat.S_ISDIR(at.st_mode)]
    return Digest(found.hexdigest())


def _prune(store: Store, layer: Digest) -> bool:
    """Remove the layer's tree unless a container runs on it, and say whether that was so."""
    with store.lock(f"tree-{layer.hex}"), store.holds.unless_held(layer) as free:
        if free:
            store.drop_record(_KIND, _key(store, layer))
            _remove(store, tree_of(store, layer))
        return free


def _drop(store: Store, layer: Digest) -> None:
    """Remove the layer's tree, or put it aside where a container runs on it."""
    tree = tree_of(store, layer)
    store.drop_record(_KIND, _key(store, layer))
    with store.holds.unless_held(layer) as free:
        if free:
            _remove(store, tree)
        elif tree.exists():
            _move(tree, make_folder(_aside(store), mode=0o700) / f"{layer.hex}-{token_hex(8)}")


def _sweep(store: Store) -> None:
    """Remove what was put aside, once no container runs on its layer any more."""
    for tree in _aside(store).glob("*"):
        with store.holds.unless_held(Digest(tree.name.partition("-")[0])) as free:
            if free:
                _remove(store, tree)


def _remove(store: Store, tree: Path) -> None:
    if tree.exists():
        with store.scratch() as scratch:  # gone at once: half a tree would pass for a whole one
            _move(tree, scratch / "tree")


def _unpack(store: Store, layer: Layer, step: Step, within: Budget) -> None:
    with store.lock(f"tree-{layer.digest.hex}"):
        if not is_sound(store, layer.digest):  # nobody else made it while we waited
            _make(store, layer, within)
    step.advance(layer.size)


def _make(store: Store, layer: Layer, within: Budget) -> None:
    _drop(store, layer.digest)
    tree = tree_of(store, layer.digest)
    with store.scratch() as scratch:
        unpack_layer(store, layer, scratch / "tree", within=within)
        with translated(tree):
            make_folder(tree.parent, mode=0o700).chmod(0o700)  # images hold set-id programs
            _move(scratch / "tree", tree)
    made = UnpackedTree(layout=_LAYOUT, layer=layer, fingerprint=_fingerprint(tree))
    store.put_record(_KIND, _key(store, layer.digest), made)
    store.verified.add(tree, tree.stat().st_ino)


def unpack_layer(store: Store, layer: Layer, into: Path, *, within: Budget | None = None) -> None:
    """Unpack a layer into the new folder ``into``, in the form that overlayfs reads."""
    if not store.has(layer.digest):
        raise BuildError(
            f"layer {layer.digest} ({layer.title or 'untitled'}) is not in the store {store.root}",
            hint="build again to make it anew",
        )
    into.mkdir(mode=0o755)
    blob = store.path(layer.digest)
    unpack(blob, layer.media_type, into, diff_id=layer.diff_id, within=within)
    mark_deletions(into)
