"""Bytecode of a lock's wheels as layers of its own, made of what the store keeps for each wheel.

They hold nothing but ``__pycache__`` folders below the environment's site-packages. Their tars,
compressed in pieces that depend on no machine, are the same wherever they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from msgspec import Struct

from envbuilder.layers import tar
from envbuilder.layers.untar import untar
from envbuilder.model.bytecode_plan import BytecodeGroup
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer, canonical_json
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import ImageBase, Lock, Wheel
from envbuilder.model.plan import PREFIX, interpreter, plan
from envbuilder.model.reference import Digest
from envbuilder.resolve.debian.compression import PackedTar, compressor
from envbuilder.storage.store import Store

VERSION = 2
"""Raise it whenever the same modules give other layers by our own doing."""
_OF_WHEEL, _OF_GROUP = "bytecode", "bytecode-group"


class _Kept(Struct, frozen=True, kw_only=True):
    """What is recorded of a wheel or a group: its layer, if there is any bytecode of it."""

    layer: Layer | None


def bytecode_facts(lock: Lock, wheels: Iterable[Wheel]) -> dict[str, object]:
    """Say all that the bytecode of ``wheels`` depends on."""
    return {
        "bytecode": VERSION,
        "prefix": PREFIX,
        "python": _python(lock),
        "wheels": [str(wheel.sha256) for wheel in wheels],
    }


def bytecode_key(lock: Lock, wheels: Iterable[Wheel]) -> str:
    """Return the facts as one text."""
    return canonical_json(bytecode_facts(lock, wheels)).decode()


def _python(lock: Lock) -> dict[str, object]:
    """Name by content the Python that compiles, as far as the lock tells what it is made of."""
    base, minor = lock.base, lock.spec.minor
    if isinstance(base, ImageBase):
        made_of = [str(base.digest), *(base.packages or lock.spec.system.packages)]
    elif base.standalone is not None:
        made_of = [str(base.standalone.sha256)]
    else:
        made_of = [str(deb.sha256) for deb in base.packages if f"python{minor}" in deb.name]
    return {
        "version": minor,
        "interpreter": interpreter(lock),
        "made_of": sorted(made_of),
        "steps": list(lock.spec.steps.before_python),
        "platform": lock.spec.platform,
    }


def uncompiled(store: Store, lock: Lock, groups: Iterable[BytecodeGroup]) -> frozenset[Wheel]:
    """Return the wheels of ``groups`` whose bytecode ``store`` does not have."""
    parted = (group for group in groups if _kept_group(store, lock, group) is None)
    wheels = (wheel for group in parted for wheel in group.wheels)
    return frozenset(wheel for wheel in wheels if _kept(store, lock, wheel) is None)


def keep_bytecode(store: Store, lock: Lock, wheel: Wheel, files: Mapping[str, bytes]) -> None:
    """Keep the bytecode of ``wheel``, by paths relative to the root of the image."""
    layer = _layer(store, files) if files else None
    blobs = [] if layer is None else [layer.digest]
    store.put_record(_OF_WHEEL, bytecode_key(lock, [wheel]), _Kept(layer=layer), blobs=blobs)


def bytecode_layers(
    store: Store, lock: Lock, held: Mapping[BytecodeGroup, Layer | None]
) -> tuple[Layer, ...]:
    """Return the layers of the plan's groups; one without bytecode has none.

    What is ``held`` is taken over unseen; of all other wheels ``store`` keeps the bytecode.
    """
    groups = plan(lock).bytecode
    made = [held[each] if each in held else _of_group(store, lock, each) for each in groups]
    return tuple(
        replace(layer, title=group.title, inputs=group.inputs, kind=LayerKind.BYTECODE, bucket=None)
        for group, layer in zip(groups, made, strict=True)
        if layer is not None
    )


def check_hidden(store: Store, lock: Lock, conflicts: Iterable[tuple[str, str, str]]) -> None:
    """Refuse a module that does not compile in the place of another one's that does.

    Python would run the bytecode of the other. ``conflicts`` are paths, with the file names of the
    wheel that loses the path and of the one that has it in the end. Raises BuildError.
    """
    wheels = {wheel.filename: wheel for wheel in plan(lock).wheels}
    for path, loser, winner in conflicts:
        compiled = bytecode_path(lock, path)
        lost, won = (_kept(store, lock, wheels[name]) for name in (loser, winner))
        if compiled is None or won is None:  # what was held elsewhere was made by who knew both
            continue
        if compiled in _files(store, lost) and compiled not in _files(store, won):
            raise BuildError(
                f"Python {lock.spec.minor} cannot compile the {path} that {winner} puts in the "
                f"place of that of {loser}",
                hint="leave one of the two out, or write bytecode: false",
            )


def bytecode_path(lock: Lock, path: str) -> str | None:
    """Return where the bytecode of ``path`` lies, both relative to the root of the image.

    None for what is no module of the environment's site-packages.
    """
    modules = f"{PREFIX[1:]}/lib/python{lock.spec.minor}/site-packages/"
    if not path.startswith(modules) or not path.endswith(".py"):
        return None
    folder, _, name = path.rpartition("/")
    stem = name.removesuffix(".py") or "py"
    return f"{folder}/__pycache__/{stem}.cpython-{lock.spec.minor.replace('.', '')}.pyc"


def _kept(store: Store, lock: Lock, wheel: Wheel) -> _Kept | None:
    return store.record(_OF_WHEEL, bytecode_key(lock, [wheel]), _Kept)


def _kept_group(store: Store, lock: Lock, group: BytecodeGroup) -> _Kept | None:
    return store.record(_OF_GROUP, bytecode_key(lock, group.wheels), _Kept)


def _of_group(store: Store, lock: Lock, group: BytecodeGroup) -> Layer | None:
    """Return the one layer of a group: that of its only wheel, or what several hold together."""
    key = bytecode_key(lock, group.wheels)
    with store.lock(f"bytecode-{Digest.of(key.encode()).hex}"):
        found = _kept_group(store, lock, group)
        if found is None:
            parts = [_kept(store, lock, wheel) for wheel in group.wheels]
            layers = [part.layer for part in parts if part is not None and part.layer is not None]
            found = _Kept(layer=_together(store, parts, layers))
            # Whoever keeps the image keeps the parts: a bump compiles none of them again.
            blobs = {each.digest for each in (found.layer, *layers) if each is not None}
            store.put_record(_OF_GROUP, key, found, blobs=sorted(blobs))
    return found.layer


def _together(store: Store, parts: Iterable[_Kept | None], layers: Sequence[Layer]) -> Layer | None:
    """Return what holds the files of all ``parts``, which have these ``layers``."""
    if len(layers) < 2:
        return layers[0] if layers else None
    files: dict[str, bytes] = {}
    for part in parts:
        files |= _files(store, part)
    return _layer(store, files)


def _files(store: Store, kept: _Kept | None) -> dict[str, bytes]:
    """Read the bytecode that is ``kept``, by path."""
    if kept is None or kept.layer is None:
        return {}
    layer = kept.layer
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as opened:
        return {
            entry.info.name: b"".join(opened.content())
            for entry in opened.entries()
            if entry.info.isreg()
        }


def _layer(store: Store, files: Mapping[str, bytes]) -> Layer:
    with store.writer() as out:
        with compressor() as shared:
            packed = PackedTar(out, shared)
            for folder in sorted({each for path in files for each in tar.parents(path)}):
                packed.write(tar.header(folder, mode=0o755, kind=tar.DIRECTORY))
            for path, content in sorted(files.items()):
                packed.write(tar.header(path, mode=0o644, size=len(content)))
                packed.write(content + tar.padding(len(content)))
            packed.write(tar.END)
            packed.flush()
        size = out.size
        return Layer(digest=out.commit(), size=size, diff_id=packed.diff_id)
