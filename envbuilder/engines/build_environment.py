"""The place where git sources become wheels: the base, or the spec's image to compile in."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.plan import interpreter
from envbuilder.resolve.context import Context
from envbuilder.resolve.git.build_environment import BuildEnvironment
from envbuilder.resolve.git.sandbox import Sandbox
from envbuilder.resolve.target import python_target

from .builder_image import on_builder
from .foundation import base_settings, fetch_base
from .system import system_layers
from .system_pins import SystemPins


def build_environment(context: Context, lock: Lock, pins: SystemPins) -> BuildEnvironment:
    """Return the build environment of ``lock``; it is pinned, fetched and made once it is used.

    ``pins`` tells the exact system packages, and keeps them for whoever asks next.
    """

    def sandbox() -> Sandbox:
        return build_sandbox(context, pins.pin(lock))()

    return BuildEnvironment(
        lock=lock,
        variables=lambda: _variables(context, lock),
        pinned=lambda: pins.pin(lock),
        sandbox=sandbox,
    )


def build_sandbox(context: Context, lock: Lock) -> Callable[[], Sandbox]:
    """Make a sandbox of the lock's builder image, or of its base, when it is asked for."""

    @cache
    def make() -> Sandbox:
        inside = _inside(lock)
        below = system_layers(context, inside)
        if isinstance(inside.base, ImageBase):  # its layers were only looked up so far
            fetch_base(context, inside)
        return Sandbox(
            target=python_target(lock.spec, lock.base),
            interpreter=interpreter(lock),
            layers=below.layers,
            settings=below.settings,
        )

    return make


def _inside(lock: Lock) -> Lock:
    return lock if lock.builder is None else on_builder(lock)


def _variables(context: Context, lock: Lock) -> tuple[str, ...]:
    inside = _inside(lock)
    if not isinstance(inside.base, ImageBase):
        return ()
    return tuple(base_settings(context, inside, inside.base).get("Env") or ())
