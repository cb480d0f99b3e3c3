"""Compare unpacked layers with what they were unpacked from, byte for byte, trusting no times."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from envbuilder.model.errors import BuildError, DiskFullError
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from .trees import is_sound, recorded, tree_of, unpack_layer

_CHUNK = 1 << 20
_OPAQUE = "user.overlay.opaque"


def is_damaged(store: Store, layer: Digest) -> bool:
    """Return whether the layer's tree is not what unpacking the layer gives.

    That unpacks it once more, which for a time takes its room on the disk; of a store that was
    copied, stamps alone differ, which damages nothing. A tree whose layer is gone or damaged itself
    is only looked at from outside; one that is gone itself is not damaged.
    Hold it meanwhile (:func:`trees.holding_tree`): one that is being made is not whole. Raises
    OSError for what the disk cannot read, DiskFullError.
    """
    if not tree_of(store, layer).exists():
        return False
    known = recorded(store, layer)
    if known is None or not store.has(layer):
        return not is_sound(store, layer)
    with store.scratch() as scratch:
        try:
            unpack_layer(store, known.layer, scratch / "tree")
        except DiskFullError:
            raise
        except BuildError:  # the layer's own damage is another finding
            return not is_sound(store, layer)
        return not _same(tree_of(store, layer), scratch / "tree")


def _same(one: Path, other: Path) -> bool:
    facts, like = one.lstat(), other.lstat()
    for fact in ("st_mode", "st_rdev", "st_uid", "st_gid"):
        if getattr(facts, fact) != getattr(like, fact):
            return False
    if stat.S_ISLNK(facts.st_mode):
        return one.readlink() == other.readlink()
    if stat.S_ISREG(facts.st_mode):
        return facts.st_size == like.st_size and _same_bytes(one, other)
    if stat.S_ISDIR(facts.st_mode):
        return _same_folder(one, other)
    return True


def _same_folder(one: Path, other: Path) -> bool:
    try:
        names = sorted(os.listdir(one))  # noqa: PTH208 (names are all that is wanted)
    except PermissionError:  # without root, a folder that nobody may enter is as good as any
        return True
    if names != sorted(os.listdir(other)):  # noqa: PTH208
        return False
    if (_OPAQUE in os.listxattr(one)) != (_OPAQUE in os.listxattr(other)):
        return False
    return all(_same(one / name, other / name) for name in names)


def _same_bytes(one: Path, other: Path) -> bool:
    try:
        with one.open("rb") as left, other.open("rb") as right:
            while piece := left.read(_CHUNK):
                if piece != right.read(_CHUNK):
                    return False
    except PermissionError:  # as above
        return True
    return True
