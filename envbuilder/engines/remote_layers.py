"""Layers of a lock that other machines have made already, and those that we make for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from envbuilder.layers.install import Target
from envbuilder.layers.wheel import has_wheel_layer
from envbuilder.model.account import account_of
from envbuilder.model.bytecode_plan import BytecodeGroup
from envbuilder.model.codec import to_plain
from envbuilder.model.errors import NetworkError
from envbuilder.model.image import Image, Layer, canonical_json
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.plan import LAYOUT_VERSION, PREFIX, WheelLayer, plan
from envbuilder.registry.transfer import BlobPush, pull_layers
from envbuilder.resolve.context import Context, RemoteLayers

from .bytecode_layers import bytecode_facts, uncompiled
from .foundation import has_base
from .reuse import ReusableLayers
from .wheel_input import wheel_input


def held_remotely(context: Context, lock: Lock, *, bring: bool) -> ReusableLayers:
    """Name the layers of ``lock`` that this machine lacks and the shared place has.

    ``bring`` fetches them, which a smoke test or an export needs; a push does without, but not
    where the spec's own files look at the base. Nothing is held if there is no such place, no
    network is allowed, or the place fails, which is said.
    """
    remote = context.remote
    if remote is None or context.offline:
        return ReusableLayers()
    groups = {key: group for key, group in wheel_keys(lock).items() if _lacks(context, lock, group)}
    base = None if has_base(context, lock) or (lock.files and not bring) else base_key(lock)
    bytecode = {
        key: group
        for key, group in bytecode_keys(lock).items()
        if uncompiled(context.store, lock, [group])
    }
    try:
        found = remote.find([*groups, *bytecode, *([base] if base else [])])
        held = ReusableLayers(
            base=found.get(base, ()) if base else (),
            wheels={
                group: replace(found[key][0], title=group.title)
                for key, group in groups.items()
                if found.get(key)
            },
            bytecode={
                group: next(iter(found[key]), None)
                for key, group in bytecode.items()
                if key in found
            },
        )
        if bring:
            repository = context.registries.repository(remote.place)
            pull_layers(repository, held.layers, context.store, context.progress)
    except NetworkError as error:
        context.progress.note(f"warning: nothing is taken from {remote.place}: {error.brief}")
        return ReusableLayers()
    return held


def offer_layers(context: Context, lock: Lock, image: Image) -> None:
    """Put the layers of ``image``, which the embedded engine made of ``lock``, where all find them.

    Without a shared place, or leave to write there, nothing happens; if the place fails, that is
    said, since the image is none the worse for it.
    """
    remote = context.remote
    if remote is None or context.offline:
        return
    keys = wheel_keys(lock)
    compiled = {each.inputs: each for each in image.layers if each.kind is LayerKind.BYTECODE}
    top = 1 + len(lock.files) + len(compiled)  # the last layer is the environment's own
    first = len(image.layers) - top - len(keys)
    made: dict[str, tuple[Layer, ...]] = {
        key: (layer,) for key, layer in zip(keys, image.layers[first:-top], strict=True)
    }
    for key, group in bytecode_keys(lock).items():
        made[key] = (compiled[group.inputs],) if group.inputs in compiled else ()
    if base := base_key(lock):
        made[base] = image.layers[:first]
    try:
        _put(context, remote, made)
    except NetworkError as error:
        context.progress.note(f"warning: not all is put into {remote.place}: {error.brief}")


def _put(context: Context, remote: RemoteLayers, made: Mapping[str, tuple[Layer, ...]]) -> None:
    """Bring the blobs there, and then what vouches for them; what came from elsewhere stays."""
    ours = {
        key: layers
        for key, layers in remote.lacking(made).items()
        if all(context.store.has(layer.digest) for layer in layers)
    }
    target = context.registries.repository(remote.place).for_writing()
    blobs = [layer for layers in ours.values() for layer in layers]
    BlobPush(target, context.store, context.progress).layers(blobs)
    remote.vouch(ours)


def wheel_keys(lock: Lock) -> dict[str, WheelLayer]:
    """Return the groups of wheels, lowest first, by all that the layer of each depends on."""
    return {
        _text(
            python=lock.spec.minor,
            bucket=group.bucket,
            wheels=[wheel_input(lock, wheel).facts() for wheel in group.wheels],
        ): group
        for group in plan(lock).layers
    }


def bytecode_keys(lock: Lock) -> dict[str, BytecodeGroup]:
    """Return the groups of bytecode, lowest first, by all that the layer of each depends on."""
    return {_text(**bytecode_facts(lock, group.wheels)): group for group in plan(lock).bytecode}


def base_key(lock: Lock) -> str | None:
    """Say all that the layers below depend on; None if they are an image's own, or BuildKit's."""
    if not isinstance(lock.base, DebianBase) or lock.spec.steps.before_python:
        return None
    account = to_plain(account_of(lock.spec))
    return _text(platform=lock.spec.platform, base=to_plain(lock.base), account=account)


def _lacks(context: Context, lock: Lock, group: WheelLayer) -> bool:
    """Return whether this machine would have to make the layer of ``group``."""
    wheels = [wheel_input(lock, wheel) for wheel in group.wheels]
    target = Target(python=lock.spec.minor, prefix=PREFIX)
    return not has_wheel_layer(context.store, wheels, target=target)


def _text(**facts: object) -> str:
    return canonical_json({"layout": LAYOUT_VERSION, **facts}).decode()
