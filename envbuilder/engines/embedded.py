"""Plan and store -> OCI image: the embedded engine. No daemon, no compressor, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from threading import Event
from typing import Any

from envbuilder.layers.files import Content, Files, files_layer, venv_skeleton
from envbuilder.layers.install import Target
from envbuilder.layers.wheel import wheel_layer, written_paths
from envbuilder.model.image import Image, Layer, compose
from envbuilder.model.image_config import image_settings
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import Lock, Wheel
from envbuilder.model.plan import (
    LAYOUT_VERSION,
    PREFIX,
    Plan,
    WheelLayer,
    plan,
)
from envbuilder.model.pylock import dump_lock
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Seal
from envbuilder.resolve.context import Context
from envbuilder.storage.store import Store

from .bytecode import compilation
from .bytecode_layers import bytecode_layers, check_hidden
from .foundation import Foundation
from .own_files import own_files_layers
from .reuse import ReusableLayers, to_compile
from .wheel_input import wheel_input

METADATA = "/usr/share/envbuilder"
"""Where every image carries its own lock."""
CREATED = "2000-01-01T00:00:00Z"
"""The moment in every config: a clock would make two builds differ."""
_NO_REUSE = ReusableLayers()
_DOWNLOADS = 4
_LAYERINGS = 2


def assemble(
    context: Context,
    lock: Lock,
    *,
    foundation: Callable[[Context], Foundation],
    bring: Callable[[Wheel, Event], None],
    held: ReusableLayers = _NO_REUSE,
) -> Image:
    """Build the image of ``lock``; its layers, config and manifest are in the store afterwards.

    ``foundation`` makes or finds the base's layers, ``bring`` puts one wheel into the store; both
    run beside the layering and give up when they are told to stop. Layers that are ``held`` are
    taken over unseen. Every source's wheel must be known. Raises what these two raise, whichever
    fails first, and BuildError.
    """
    planned = plan(lock)
    target = Target(python=planned.python, prefix=PREFIX)
    within = context.part()
    wanted = to_compile(context.store, lock, held)
    with (
        compilation(context, lock, wanted) as compiling,
        _pool(_DOWNLOADS) as downloads,
        _pool(_LAYERINGS) as layerings,
        _pool(1) as beside,
    ):
        base = beside.submit(foundation if not held.base else _held_base(held), within)
        missing = (group for group in planned.layers if group not in held.wheels)
        brought = {
            wheel: downloads.submit(bring, wheel, within.stop)
            for wheel in _largest_first(wheel for group in missing for wheel in group.wheels)
        }

        def layer(group: WheelLayer) -> Layer:
            if group in held.wheels:
                return held.wheels[group]
            for wheel in group.wheels:
                brought[wheel].result()
                compiling.gather(wheel)  # first: afterwards it has to be made out of its layer
            return _wheel_layer(context, lock, group, target=target)

        made = [layerings.submit(layer, group) for group in planned.layers]
        try:
            _await([base, *brought.values(), *made])
        except BaseException:
            within.stop.set()
            for pool in (downloads, layerings, beside):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
        wheels = tuple(future.result() for future in made)
        below = base.result()
        compiling.finish(below)
    text = dump_lock(lock.unsealed()).encode()
    top = _environment_layer(lock, planned, target=target, text=text, store=context.store)
    if not held.wheels:  # who sealed those layers was warned, and not all wheels are here
        _warn_of_conflicts(context, lock, planned, target=target, top=top)
    bytecode = bytecode_layers(context.store, lock, held.bytecode)
    own = own_files_layers(context, lock, below)
    layers = (*below.layers, *wheels, *bytecode, *own, top)
    return _image(lock, layers, below.settings, context.store)


def _await(futures: Sequence[Future[Any]]) -> None:
    """Wait for all; raise the first failure at once, of several the one that is named first."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in futures:
        if future in done:
            future.result()


def _held_base(held: ReusableLayers) -> Callable[[Context], Foundation]:
    return lambda _: Foundation(layers=held.base)


def seal(lock: Lock, image: Image, *, engine: str) -> Lock:
    """Write into the lock what building it gave; forms and index of the same image stay listed."""
    sealed = Seal(
        engine=engine,
        layout=LAYOUT_VERSION,
        layers=image.layers,
        config=image.config_digest,
        manifest=image.digest,
    )
    if lock.seal is not None and lock.seal.manifest == image.digest:
        sealed = replace(sealed, forms=lock.seal.forms, index=lock.seal.index)
    return replace(lock, seal=sealed)


def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=workers, thread_name_prefix="assemble")


def _largest_first(wheels: Iterable[Wheel]) -> list[Wheel]:
    return sorted(wheels, key=lambda wheel: (-wheel.size, wheel))


def _wheel_layer(context: Context, lock: Lock, group: WheelLayer, *, target: Target) -> Layer:
    made = wheel_layer(
        context.store,
        [wheel_input(lock, wheel) for wheel in group.wheels],
        target=target,
        title=group.title,
        progress=context.progress,
    )
    inputs = tuple(str(wheel.sha256) for wheel in group.wheels)
    return replace(made, inputs=inputs, kind=LayerKind.PACKAGES, bucket=group.bucket)


def _warn_of_conflicts(
    context: Context, lock: Lock, planned: Plan, *, target: Target, top: Layer
) -> None:
    """Name wheels that write other bytes to one path; the later of ``Plan.wheels`` wins.

    Once, as long as the store has ``top``, the layer that holds the lock. Raises BuildError where
    that may not be, for the sake of bytecode.
    """
    key = str(top.digest)
    if context.store.record("conflicts", key) is not None:
        return
    conflicts = _conflicts(lock, planned, target=target, store=context.store)
    if lock.spec.bytecode:
        check_hidden(context.store, lock, conflicts)
    context.store.put_record("conflicts", key, conflicts, blobs=[top.digest])
    paths: dict[tuple[str, str], list[str]] = {}
    for path, loser, winner in conflicts:
        paths.setdefault((winner, loser), []).append(path)
    for (winner, loser), shared in paths.items():
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        context.progress.note(f"warning: {winner} overwrites {shared[0]}{more} of {loser}")


def _conflicts(
    lock: Lock, planned: Plan, *, target: Target, store: Store
) -> list[tuple[str, str, str]]:
    owners: dict[str, tuple[str, tuple[int, int]]] = {}
    found = []
    for wheel in planned.wheels:
        written = written_paths(store, wheel_input(lock, wheel), target=target)
        for path, content in written.items():
            if path in owners and owners[path][1] != content:
                found.append((path, owners[path][0], wheel.filename))
            owners[path] = (wheel.filename, content)
    return found


def _environment_layer(
    lock: Lock, planned: Plan, *, target: Target, text: bytes, store: Store
) -> Layer:
    """Make the last, small layer: the virtual environment's skeleton and the lock's own text."""
    files: Files = {
        **venv_skeleton(
            target,
            interpreter=planned.interpreter,
            system_site_packages=lock.spec.system.site_packages,
        ),
        f"{METADATA}/pylock.{lock.spec.name}.toml": Content(data=text),
    }
    layer = files_layer(store, files, title=f"environment {lock.spec.name}")
    return replace(layer, inputs=(str(Digest.of(text)),), kind=LayerKind.ENVIRONMENT)


def _image(
    lock: Lock, layers: tuple[Layer, ...], settings: Mapping[str, Any], store: Store
) -> Image:
    image = compose(
        layers,
        platform=lock.spec.platform,
        settings=image_settings(lock, settings),
        created=CREATED,
    )
    store.add(image.config)
    store.add(image.manifest)
    return image
