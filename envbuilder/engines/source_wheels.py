"""The wheels of a lock's git sources: built in the lock's own base, or found where they were."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from envbuilder.layers.store import Store
from envbuilder.lock import ImageBase, Lock
from envbuilder.plan import interpreter
from envbuilder.progress import Progress
from envbuilder.resolve.resolve import python_target
from envbuilder.runtime import Runtime, choose
from envbuilder.sources import build
from envbuilder.sources.context import Context
from envbuilder.sources.sandbox import Sandbox

from .foundation import fetch_base
from .system import lay_system


def with_wheels(lock: Lock, *, store: Store, progress: Progress, offline: bool = False) -> Lock:
    """Give ``lock`` with the wheel of every git source, each in ``store``; built where need be.

    Raises BuildError where a build fails or gives other bytes than the lock holds, and what
    fetching and running bring along.
    """
    context = _context(store, progress, offline=offline)
    return build.build_sources(lock, sandbox=_sandbox(lock, context), context=context)


def check_reproducible(lock: Lock, *, store: Store, progress: Progress, offline: bool) -> None:
    """Build every git source of ``lock`` once more; raise BuildError that lists what differs."""
    context = _context(store, progress, offline=offline)
    build.check_reproducible(lock, sandbox=_sandbox(lock, context), context=context)


def fetch_sources(lock: Lock, *, store: Store, progress: Progress, offline: bool) -> None:
    """Bring what building the git sources needs: their commits and their build environments."""
    build.fetch_sources(lock, _context(store, progress, offline=offline))


def _context(store: Store, progress: Progress, *, offline: bool) -> Context:
    def runtime() -> Runtime:
        return choose("auto", store)

    return Context(store=store, runtime=runtime, progress=progress, offline=offline)


def _sandbox(lock: Lock, context: Context) -> Callable[[], Sandbox]:
    """Make the base of ``lock`` a sandbox, when it is asked for."""

    def make() -> Sandbox:
        store, offline, progress = context.store, context.offline, context.progress
        base = lay_system(lock, store=store, offline=offline, progress=progress, stop=Event())
        if isinstance(lock.base, ImageBase):  # its layers were only looked up so far
            fetch_base(lock, store=store, offline=offline, progress=progress)
        return Sandbox(
            target=python_target(lock.spec, lock.base),
            interpreter=interpreter(lock),
            layers=base.layers,
            settings=base.settings,
        )

    return make
