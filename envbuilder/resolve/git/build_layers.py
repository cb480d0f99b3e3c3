"""A build environment as layers: wheels that another source, or the image itself, needs are there.

Most of it is what the image that is being built holds as well (torch and its CUDA libraries), below
another prefix. Where the runtime can show a layer at another place, heavy wheels are laid as the
image lays them, and seen at ours with the little that differs: they are stored and unpacked once.
"""

from __future__ import annotations

from collections.abc import Iterable

from envbuilder.layers.files import files_layer, venv_skeleton
from envbuilder.layers.install import Target
from envbuilder.layers.moved import moved_layer
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.model.image import Image, Layer, compose
from envbuilder.model.lock import Wheel
from envbuilder.model.plan import HEAVY
from envbuilder.model.plan import PREFIX as SHIPPED
from envbuilder.runtime import Overlay

from .context import GitContext
from .sandbox import Sandbox

PREFIX = "/opt/build"
"""Where the build environment lies, in both engines."""
_TITLE = "build environment"


def build_layers(
    sandbox: Sandbox,
    wheels: Iterable[Wheel],
    requested: frozenset[str],
    context: GitContext,
    *,
    overlaid: bool,
) -> tuple[Image, tuple[Overlay, ...]]:
    """Lay ``wheels``, which are in the store, on ``sandbox``; return its image, and what lies over.

    ``requested`` are the names that the spec itself asks for. Where a command may not be
    ``overlaid``, all is in the image. Both ways show the same files at ``PREFIX``.
    """
    target = Target(python=sandbox.target.python, prefix=PREFIX)
    chosen = sorted(wheels)
    heavy = [wheel for wheel in chosen if wheel.size >= HEAVY]
    light = [wheel for wheel in chosen if wheel.size < HEAVY]
    shared = overlaid and bool(heavy)
    own = [_laid(light, target, context)] if light else []
    skeleton = venv_skeleton(target, interpreter=sandbox.interpreter)
    own.append(files_layer(context.store, skeleton, title=_TITLE))
    if shared:
        parts = [part for wheel in heavy for part in _moved(wheel, requested, target, context)]
        parts += [(layer, target.root) for layer in own]
        return _image(sandbox, (), context), (Overlay(parts=tuple(parts), target=PREFIX),)
    alone = [_laid([wheel], target, context) for wheel in heavy]  # they are shared most
    return _image(sandbox, (*alone, *own), context), ()


def _laid(wheels: list[Wheel], target: Target, context: GitContext) -> Layer:
    return wheel_layer(
        context.store,
        [WheelInput(filename=wheel.filename, sha256=wheel.sha256) for wheel in wheels],
        target=target,
        title=_TITLE,
        progress=context.progress,
    )


def _moved(
    wheel: Wheel, requested: frozenset[str], target: Target, context: GitContext
) -> list[tuple[Layer, str]]:
    """Return the layer that the image has of ``wheel``, and what it lacks at ``target``."""
    shipped = Target(python=target.python, prefix=SHIPPED)
    laid = WheelInput(
        filename=wheel.filename, sha256=wheel.sha256, requested=wheel.name in requested
    )
    # The small one first: it reads the wheel, which afterwards has to be made out of its layer.
    moved = moved_layer(context.store, laid, target=shipped, prefix=PREFIX, title=_TITLE)
    layer = wheel_layer(
        context.store, [laid], target=shipped, title=_TITLE, progress=context.progress
    )
    return [(layer, shipped.root), (moved, target.root)]


def _image(sandbox: Sandbox, layers: tuple[Layer, ...], context: GitContext) -> Image:
    image = compose(
        (*sandbox.layers, *layers),
        platform=sandbox.target.platform,
        settings={"Env": list(sandbox.settings.get("Env") or ())},
    )
    context.store.add(image.config)
    context.store.add(image.manifest)
    return image
