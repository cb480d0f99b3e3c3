"""What each layer of an image weighs, and which packages make it so: for people, in a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envbuilder.model.image import Layer
from envbuilder.model.lock import DebianBase, DebPackage, Lock, Wheel
from envbuilder.model.reference import Digest

from .page import LayerSize


def layer_sizes(layers: Sequence[Layer], lock: Lock | None = None) -> tuple[LayerSize, ...]:
    """Size ``layers``, lowest first; the ``lock`` that they were made from knows what is inside."""
    parts = {} if lock is None else _parts(layers, lock)
    return tuple(
        LayerSize(title=layer.title, size=layer.size, packages=parts.get(layer.diff_id, ()))
        for layer in layers
    )


def _parts(layers: Sequence[Layer], lock: Lock) -> dict[Digest, tuple[tuple[str, int], ...]]:
    """Say what is in each layer, by what it was made from: the seal knows it of a foreign image."""
    sealed = lock.seal.layers if lock.seal is not None else ()
    made_from = {layer.diff_id: layer.inputs for layer in (*sealed, *layers) if layer.inputs}
    known: dict[str, Wheel | DebPackage] = {str(wheel.sha256): wheel for wheel in lock.wheels}
    if isinstance(lock.base, DebianBase):
        known |= {str(deb.sha256): deb for deb in lock.base.packages}
    for source in lock.built:
        if source.wheel is not None:
            known |= {str(source.wheel.sha256): source.wheel, source.identity: source.wheel}
    return {
        diff_id: _heaviest(known[each] for each in inputs if each in known)
        for diff_id, inputs in made_from.items()
    }


def _heaviest(packages: Iterable[Wheel | DebPackage]) -> tuple[tuple[str, int], ...]:
    ordered = sorted(packages, key=lambda each: (-each.size, each.name))
    return tuple((f"{each.name} {each.version}", each.size) for each in ordered)
