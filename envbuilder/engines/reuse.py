"""Layers that need not be made, because a seal names them and a registry holds them.

A layer is a function of its inputs. So where an earlier, sealed lock asks for the very same layer,
its digest is known, and a machine with an empty store can build the manifest around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from envbuilder.model.account import account_of
from envbuilder.model.bytecode_plan import BytecodeGroup
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase, Lock, Wheel
from envbuilder.model.plan import (
    LAYOUT_VERSION,
    Plan,
    WheelLayer,
    plan,
)
from envbuilder.registry.blobs import has_blob
from envbuilder.registry.repository import Repository
from envbuilder.storage.store import Store

from .bytecode_layers import bytecode_key, uncompiled
from .wheel_input import wheel_input

_WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusableLayers:
    """Layers that are to be had without making them: of the base, and by group of wheels.

    A group that is known to have no bytecode has None in the place of its layer.
    """

    base: tuple[Layer, ...] = ()
    wheels: Mapping[WheelLayer, Layer] = field(default_factory=dict)
    bytecode: Mapping[BytecodeGroup, Layer | None] = field(default_factory=dict)

    def __or__(self, other: ReusableLayers) -> ReusableLayers:
        """Return what is to be had from either; of what both have, ours."""
        return ReusableLayers(
            base=self.base or other.base,
            wheels={**other.wheels, **self.wheels},
            bytecode={**other.bytecode, **self.bytecode},
        )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All of them."""
        bytecode = (layer for layer in self.bytecode.values() if layer is not None)
        return (*self.base, *self.wheels.values(), *bytecode)


def to_compile(store: Store, lock: Lock, held: ReusableLayers) -> frozenset[Wheel]:
    """Return the wheels of ``lock`` whose bytecode neither ``store`` nor ``held`` has."""
    groups = plan(lock).bytecode
    return uncompiled(store, lock, [group for group in groups if group not in held.bytecode])


def compilable(store: Store, lock: Lock, held: ReusableLayers) -> ReusableLayers:
    """Return what of ``held`` is left if the rest of the bytecode is to be compiled.

    That takes the wheels themselves, and the base to run on.
    """
    wanted = to_compile(store, lock, held)
    if not wanted:
        return held
    wheels = {
        group: layer for group, layer in held.wheels.items() if wanted.isdisjoint(group.wheels)
    }
    return replace(held, base=(), wheels=wheels)


def reusable(old: Lock, new: Lock) -> ReusableLayers:
    """Name the layers of ``old``'s seal that building ``new`` would make again, byte for byte."""
    seal = old.seal
    if seal is None or (seal.engine, seal.layout) != ("embedded", LAYOUT_VERSION):
        return ReusableLayers()
    before, after = plan(old), plan(new)
    bytecode = [layer for layer in seal.layers if layer.kind is LayerKind.BYTECODE]
    top = 1 + len(old.files) + len(bytecode)  # the last layer is the environment's own
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
        bytecode=_reusable_bytecode(old, new, {layer.inputs: layer for layer in bytecode}),
    )


def _reusable_bytecode(
    old: Lock, new: Lock, made: Mapping[tuple[str, ...], Layer]
) -> dict[BytecodeGroup, Layer | None]:
    """Find the groups of ``new`` that ``old`` had; one that is not ``made`` had no bytecode."""
    known = {bytecode_key(old, group.wheels) for group in plan(old).bytecode}
    return {
        group: made.get(group.inputs)
        for group in plan(new).bytecode
        if bytecode_key(new, group.wheels) in known
    }


def held_in(repository: Repository, held: ReusableLayers) -> ReusableLayers:
    """Keep those of ``held`` that ``repository`` has: one small request for each."""
    layers = set(held.layers)
    with ThreadPoolExecutor(_WORKERS) as pool:
        answers = pool.map(lambda layer: has_blob(repository, layer.digest), layers)
        there = {layer for layer, found in zip(layers, answers, strict=True) if found}
    return replace(
        held,
        base=held.base if there.issuperset(held.base) else (),
        wheels={group: layer for group, layer in held.wheels.items() if layer in there},
        bytecode={
            group: layer
            for group, layer in held.bytecode.items()
            if layer is None or layer in there
        },
    )


def _ground(lock: Lock) -> tuple[object, ...]:
    """Say all that the layers below the wheels depend on."""
    return lock.base, lock.spec.steps.before_python, account_of(lock.spec)


def _identity(lock: Lock, planned: Plan, group: WheelLayer) -> tuple[object, ...]:
    """Say all that a layer of wheels depends on, beside the layout's version."""
    return planned.python, group.bucket, *(wheel_input(lock, wheel) for wheel in group.wheels)
