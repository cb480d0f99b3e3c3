"""What each layer of an image weighs, and which packages make it so: for people, in a report."""

from __future__ import annotations

from collections.abc import Iterable

from .image import Image
from .lock import DebianBase, DebPackage, Lock, Wheel
from .plan import plan
from .smoke import LayerSize


def layer_sizes(image: Image, lock: Lock | None = None) -> tuple[LayerSize, ...]:
    """List the layers of ``image``, lowest first; ``lock`` knows what was put into each."""
    parts = {} if lock is None else _parts(lock)
    titles = [layer.title for layer in image.layers]
    if lock is not None and isinstance(lock.base, DebianBase) and titles:
        parts[titles[0]] = _heaviest(lock.base.packages)
    return tuple(
        LayerSize(title=layer.title, size=layer.size, packages=parts.get(layer.title, ()))
        for layer in image.layers
    )


def _parts(lock: Lock) -> dict[str, tuple[tuple[str, int], ...]]:
    return {layer.title: _heaviest(layer.wheels) for layer in plan(lock).layers}


def _heaviest(packages: Iterable[Wheel | DebPackage]) -> tuple[tuple[str, int], ...]:
    ordered = sorted(packages, key=lambda each: (-each.size, each.name))
    return tuple((f"{each.name} {each.version}", each.size) for each in ordered)
