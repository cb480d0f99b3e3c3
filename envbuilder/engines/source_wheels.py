"""The wheels of a lock's git sources: built by the engine that builds the image, or found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from threading import Event

from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.plan import interpreter
from envbuilder.model.progress import Progress
from envbuilder.resolve.git import wheel_build
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.context import Context
from envbuilder.resolve.git.sandbox import Sandbox
from envbuilder.resolve.git.wheel_build import Job, Make
from envbuilder.resolve.resolve import python_target
from envbuilder.runtime import choose
from envbuilder.storage.store import Store

from .docker import build_wheel
from .foundation import fetch_base, foundation_layers
from .system import system_layers


def with_wheels(
    lock: Lock,
    *,
    store: Store,
    progress: Progress,
    offline: bool = False,
    engine: str = "embedded",
    builder: str | None = None,
) -> Lock:
    """Return ``lock`` with the wheel of every git source, each in ``store``; built where need be.

    ``engine`` "embedded" builds in containers of our own, "docker" in BuildKit (on the buildx
    builder ``builder``). Raises BuildError if a build fails or gives other bytes than the lock
    holds, and what fetching and running bring along.
    """
    context = _context(store, progress, offline=offline)
    make = _make(lock, context, engine=engine, builder=builder)
    return wheel_build.build_sources(lock, make=make, context=context)


def check_reproducible(
    lock: Lock,
    *,
    store: Store,
    progress: Progress,
    offline: bool,
    engine: str = "embedded",
    builder: str | None = None,
) -> None:
    """Build every git source of ``lock`` once more; raise BuildError that lists what differs."""
    context = _context(store, progress, offline=offline)
    make = _make(lock, context, engine=engine, builder=builder)
    wheel_build.check_reproducible(lock, make=make, context=context)


def fetch_sources(lock: Lock, *, store: Store, progress: Progress, offline: bool) -> None:
    """Bring what building the git sources needs: commits, build environments, the builder image."""
    wheel_build.fetch_sources(lock, _context(store, progress, offline=offline))
    wheels = [source.wheel for source in lock.sources]
    built = all(wheel is not None and has_wheel(store, wheel.sha256) for wheel in wheels)
    if lock.builder is not None and not built:
        on_builder = replace(lock, base=lock.builder)
        fetch_base(on_builder, store=store, offline=offline, progress=progress)


def _context(store: Store, progress: Progress, *, offline: bool) -> Context:
    return Context(
        store=store, runtime=lambda: choose("auto", store), progress=progress, offline=offline
    )


def _make(lock: Lock, context: Context, *, engine: str, builder: str | None) -> Make:
    if engine == "embedded":
        return contained(_sandbox(lock, context, builder), context)

    def make(job: Job) -> str:
        return build_wheel(
            job,
            store=context.store,
            progress=context.progress,
            builder=builder,
            offline=context.offline,
        )

    return make


def _sandbox(lock: Lock, context: Context, builder: str | None) -> Callable[[], Sandbox]:
    """Make a sandbox of the lock's builder image, or of its base, when it is asked for."""

    @cache
    def make() -> Sandbox:
        store, offline, progress = context.store, context.offline, context.progress
        if lock.builder is not None:
            inside = replace(lock, base=lock.builder)
            below = foundation_layers(
                inside, store=store, offline=offline, progress=progress, stop=Event()
            )
        else:
            inside = lock
            below = system_layers(
                lock,
                store=store,
                offline=offline,
                progress=progress,
                stop=Event(),
                builder=builder,
            )
        if isinstance(inside.base, ImageBase):  # its layers were only looked up so far
            fetch_base(inside, store=store, offline=offline, progress=progress)
        return Sandbox(
            target=python_target(lock.spec, lock.base),
            interpreter=interpreter(lock),
            layers=below.layers,
            settings=below.settings,
        )

    return make
