"""What each layer of an image weighs, and which packages make it so: for people, in a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envbuilder.model.image import Layer
from envbuilder.model.lock import DebianBase, DebPackage, Lock, Wheel
from envbuilder.model.plan import plan

from .page import LayerSize


def layer_sizes(layers: Sequence[Layer], lock: Lock | None = None) -> tuple[LayerSize, ...]:
    """Size ``layers``, lowest first; the ``lock`` that they were made from knows what is inside."""
    parts = {}
    if lock is not None:
        parts = {layer.title: _heaviest(layer.wheels) for layer in plan(lock).layers}
        if isinstance(lock.base, DebianBase):
            parts[layers[0].title] = _heaviest(lock.base.packages)
    return tuple(
        LayerSize(title=layer.title, size=layer.size, packages=parts.get(layer.title, ()))
        for layer in layers
    )


def _heaviest(packages: Iterable[Wheel | DebPackage]) -> tuple[tuple[str, int], ...]:
    ordered = sorted(packages, key=lambda each: (-each.size, each.name))
    return tuple((f"{each.name} {each.version}", each.size) for each in ordered)
