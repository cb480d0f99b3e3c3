"""What the embedded engine asks of what it lays the environment on: that the place is free."""

from __future__ import annotations

from collections.abc import Sequence

from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.resolve.base_facts import says_all
from envbuilder.resolve.below import look_below
from envbuilder.resolve.context import Context
from envbuilder.resolve.place import PLACE_HINT, place_problem

from .foundation import Foundation, fetch_base


def on_free_place(context: Context, lock: Lock, below: Foundation) -> Foundation:
    """Return ``below`` if the environment's place is free there; raise BuildError.

    `lock` has asked an image already, so what the store lacks of it is not fetched again for this,
    unless the spec left nothing to ask: then this raises what fetching does. Debian's packages
    leave the place alone; what steps made is asked.
    """
    if isinstance(lock.base, ImageBase):
        if says_all(lock.spec):
            fetch_base(context, lock)
        base, above = lock.base.layers, below.layers[len(lock.base.layers) :]
    else:
        base = ()
        above = tuple(layer for layer in below.layers if layer.kind is LayerKind.STEP)
    problem = _problem(context, base)
    problem = _problem(context, above if problem is None else (*base, *above))
    if problem is not None:
        raise BuildError(problem, hint=PLACE_HINT)
    return below


def _problem(context: Context, layers: Sequence[Layer]) -> str | None:
    there = [layer for layer in layers if context.store.has(layer.digest)]
    return place_problem(look_below(context, there)) if there else None
