"""A user's own files, for both engines: layers on what lies below, or a folder of the context."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from envbuilder.layers.below import Below, Owned
from envbuilder.layers.own_files import entries_of, laid, own_files_layer
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer
from envbuilder.model.image_spec import OwnFiles
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import FileTree, ImageBase, Lock, LockedFile
from envbuilder.model.own_files import owner_of
from envbuilder.model.plan import PREFIX
from envbuilder.resolve.below import look_below
from envbuilder.resolve.context import Context
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated

from .foundation import Foundation, fetch_base

FOLDER = "files"
"""Where a rendered folder holds them, each entry below its number."""
_PACKAGED = frozenset({"bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr", "var"})
"""Where Debian's packages put files, and so modules (Debian Policy 9.1)."""


def title(entry: OwnFiles) -> str:
    """Return what people call the layer of ``entry``."""
    return f"files {entry.to.rstrip('/')}"


def inputs(tree: FileTree) -> tuple[str, ...]:
    """Name what went into the layer of ``tree``."""
    return tuple(str(file.sha256) for file in tree.files)


def own_files_layers(context: Context, lock: Lock, foundation: Foundation) -> tuple[Layer, ...]:
    """Lay the files of ``lock`` on ``foundation``, one layer for each entry.

    Raises BuildError if the store lacks a file, and what fetching an image base raises.
    """
    if not lock.files:
        return ()
    places = _with_packages(lock, look_at(context, lock, foundation))
    layers = []
    for entry, tree in zip(lock.spec.files, lock.files, strict=True):
        mode = None if entry.mode is None else int(entry.mode, 8)
        entries = entries_of(tree, places, owner=owner_of(entry, lock.spec), mode=mode)
        made = own_files_layer(context.store, entries, title=title(entry))
        layers.append(replace(made, inputs=inputs(tree), kind=LayerKind.FILES))
        places = laid(places, entries)
    return tuple(layers)


def look_at(context: Context, lock: Lock, foundation: Foundation) -> Below:
    """Say what ``foundation`` shows; an image base is fetched for it."""
    missing = [each for each in foundation.layers if not context.store.has(each.digest)]
    if missing and isinstance(lock.base, ImageBase):
        fetch_base(context, lock)
    return look_below(context, foundation.layers)


def copy_files(lock: Lock, folder: Path, *, store: Store) -> None:
    """Put the files of ``lock`` out of ``store`` into the rendered ``folder``.

    Raises BuildError for one that the store does not have.
    """
    for number, tree in enumerate(lock.files, start=1):
        for file in tree.files:
            path = folder / FOLDER / str(number) / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            _put(lock, file, path, store)


def rendered(lock: Lock) -> list[dict[str, str]]:
    """Say how each entry is copied: by a stage that sets modes, and then into the image."""
    pairs = zip(lock.spec.files, lock.files, strict=True)
    return [_rendered(lock, number, *pair) for number, pair in enumerate(pairs, start=1)]


def may_replace_modules(lock: Lock) -> bool:
    """Return whether a file may lie in the place of a module below it, whose bytecode has to go.

    Debian's own places are known; what lies in an image, or what steps made, no lock tells.
    """
    modules = [
        f"{tree.into}/{file.path}".lstrip("/")
        for tree in lock.files
        for file in tree.files
        if file.path.endswith(".py")
    ]
    if isinstance(lock.base, ImageBase) or lock.spec.steps.before_python:
        return bool(modules)
    return any(path.partition("/")[0] in _PACKAGED for path in modules)


def _rendered(lock: Lock, number: int, entry: OwnFiles, tree: FileTree) -> dict[str, str]:
    uid, gid = owner_of(entry, lock.spec)
    return {
        "stage": f"files-{number}",
        "source": f"{FOLDER}/{number}/",
        "mode": entry.mode or "",
        "owner": f"{uid}:{gid}" if uid or gid else "",
        "into": f"{tree.into.rstrip('/')}/",
    }


def _with_packages(lock: Lock, places: Below) -> Below:
    """Count the folders above the environment's own, which lies there before the files do."""
    above = PREFIX.strip("/").rpartition("/")[0]
    if not lock.wheels and not lock.sources:
        return places
    return replace(places, folders={above: Owned(mode=0o755), **places.folders})


def _put(lock: Lock, file: LockedFile, path: Path, store: Store) -> None:
    if file.link is not None:
        os.symlink(file.link, path)  # noqa: PTH211 - the text as it stands
        return
    if not store.has(file.sha256):
        hint = f"envbuilder lock {lock.spec.name} takes it in, where it lies"
        raise BuildError(f"{file.path} is not in the store", hint=hint)
    with translated(path.parent):
        store.copy(file.sha256, path)
    path.chmod(0o755 if file.executable else 0o644)
