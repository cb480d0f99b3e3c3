"""Layers that need not be made, because a seal names them and a registry holds them.

A layer is a function of its inputs. So where an earlier, sealed lock asks for the very same layer,
its digest is known, and a machine with an empty store can build the manifest around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from envbuilder.model.account import account_of
from envbuilder.model.image import Layer
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.plan import (
    LAYOUT_VERSION,
    Plan,
    WheelLayer,
    plan,
)
from envbuilder.registry.blobs import has_blob
from envbuilder.registry.repository import Repository

from .wheel_input import wheel_input

_WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusableLayers:
    """Layers that are to be had without making them: of the base, and by group of wheels."""

    base: tuple[Layer, ...] = ()
    wheels: Mapping[WheelLayer, Layer] = field(default_factory=dict)

    def __or__(self, other: ReusableLayers) -> ReusableLayers:
        """Return what is to be had from either; of what both have, ours."""
        return ReusableLayers(base=self.base or other.base, wheels={**other.wheels, **self.wheels})


def reusable(old: Lock, new: Lock) -> ReusableLayers:
    """Name the layers of ``old``'s seal that building ``new`` would make again, byte for byte."""
    seal = old.seal
    if seal is None or (seal.engine, seal.layout) != ("embedded", LAYOUT_VERSION):
        return ReusableLayers()
    before, after = plan(old), plan(new)
    top = 1 + len(old.files)  # the last layer is the environment's own
    if len(seal.layers) < len(before.layers) + top:
        return ReusableLayers()
    first = len(seal.layers) - top - len(before.layers)
    made = {
        _identity(old, before, group): layer
        for group, layer in zip(before.layers, seal.layers[first:-top], strict=True)
    }
    known = ((group, made.get(_identity(new, after, group))) for group in after.layers)
    same_base = isinstance(old.base, DebianBase) and _ground(old) == _ground(new)
    return ReusableLayers(
        base=seal.layers[:first] if same_base and not new.files else (),  # files look at it
        wheels={group: layer for group, layer in known if layer is not None},
    )


def held_in(repository: Repository, held: ReusableLayers) -> ReusableLayers:
    """Keep those of ``held`` that ``repository`` has: one small request for each."""
    layers = {*held.base, *held.wheels.values()}
    with ThreadPoolExecutor(_WORKERS) as pool:
        answers = pool.map(lambda layer: has_blob(repository, layer.digest), layers)
        there = {layer for layer, found in zip(layers, answers, strict=True) if found}
    return replace(
        held,
        base=held.base if there.issuperset(held.base) else (),
        wheels={group: layer for group, layer in held.wheels.items() if layer in there},
    )


def _ground(lock: Lock) -> tuple[object, ...]:
    """Say all that the layers below the wheels depend on."""
    return lock.base, lock.spec.steps.before_python, account_of(lock.spec)


def _identity(lock: Lock, planned: Plan, group: WheelLayer) -> tuple[object, ...]:
    """Say all that a layer of wheels depends on, beside the layout's version."""
    return planned.python, group.bucket, *(wheel_input(lock, wheel) for wheel in group.wheels)
