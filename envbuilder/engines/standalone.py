"""A standalone build of Python, as a layer on a Debian base, or as a file of the context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from envbuilder.layers.archive import unpack_archive
from envbuilder.layers.below import Below
from envbuilder.layers.own_files import entries_of, own_files_layer
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase, FileTree, ImageBase, Lock, StandalonePython
from envbuilder.model.plan import STANDALONE
from envbuilder.resolve.context import Context
from envbuilder.resolve.own_files import walk
from envbuilder.resolve.python.standalone import bring_standalone
from envbuilder.storage.store import Store

FOLDER = "python"
"""Where a rendered folder holds the archive, and what is in it."""
_LEFT_OUT = ("/lib/python3.*/site-packages/*", "/bin/pip*")
"""Packages are the lock's business alone."""
_KIND = "standalone-python"
_LAYOUT = 1  # raise it whenever the same archive gives another layer


def standalone_layers(context: Context, lock: Lock, base: DebianBase) -> tuple[Layer, ...]:
    """Make the layer of the base's standalone Python, if it has one; the store remembers it.

    Raises NetworkError if the archive is to be fetched and cannot be, BuildError if it is damaged.
    """
    python = base.standalone
    if python is None:
        return ()
    key = f"{_LAYOUT} {python.sha256}"
    layer = context.store.record(_KIND, key, Layer)
    if layer is None:
        bring_standalone(context, lock.spec, python)
        with context.progress.step("layer", title(python), unit="items"):
            layer = _layer(context.store, python)
        context.store.put_record(_KIND, key, layer, blobs=[layer.digest])
    return (
        replace(layer, title=title(python), kind=LayerKind.PYTHON, inputs=(str(python.sha256),)),
    )


def title(python: StandalonePython) -> str:
    """Return what people call the layer."""
    return f"Python {python.version}, standalone"


def python_archive(lock: Lock) -> str:
    """Name the file of a rendered folder that holds the archive; empty without one."""
    python = None if isinstance(lock.base, ImageBase) else lock.base.standalone
    return "" if python is None else f"{FOLDER}/{python.filename}"


def copy_archive(lock: Lock, folder: Path, *, store: Store) -> None:
    """Put the archive out of ``store`` into the rendered ``folder``, if the lock has one.

    Raises BuildError if the store lacks it.
    """
    if isinstance(lock.base, ImageBase) or lock.base.standalone is None:
        return
    path = folder / python_archive(lock)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        store.copy(lock.base.standalone.sha256, path)
    except BuildError as error:
        hint = f"run envbuilder fetch {lock.spec.name}"
        raise BuildError(f"{path.name} is not in the store", hint=hint) from error


def _layer(store: Store, python: StandalonePython) -> Layer:
    with store.scratch() as folder:
        with store.open(python.sha256) as archive:
            unpack_archive(archive, python.size, folder, name=python.filename)
        root = folder / FOLDER
        if not (root / "bin" / f"python{python.minor}").exists():
            raise BuildError(f"{python.filename} holds no {FOLDER}/bin/python{python.minor}")
        files = tuple(sorted(walk(root, exclude=_LEFT_OUT)))
        entries = entries_of(
            FileTree(into=STANDALONE, files=files), Below(), owner=(0, 0), mode=None
        )
        prefix = f"{STANDALONE.lstrip('/')}/"
        return own_files_layer(
            store,
            entries,
            title=title(python),
            content=lambda path, _: (root / path.removeprefix(prefix)).open("rb"),
        )
