"""The wheels of a lock's git sources: built in the lock's own base, or found where they were."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from .borrow import lay_system
from .foundation import fetch_base
from .layers.store import Store
from .lock import ImageBase, Lock
from .plan import interpreter
from .progress import Progress
from .resolve.resolve import python_target
from .runtime import Runtime, choose
from .sources import build
from .sources.bench import Bench
from .sources.workshop import Workshop


def with_wheels(lock: Lock, *, store: Store, progress: Progress, offline: bool = False) -> Lock:
    """Give ``lock`` with the wheel of every git source, each in ``store``; built where need be.

    Raises BuildError where a build fails or gives other bytes than the lock holds, and what
    fetching and running bring along.
    """
    bench = _bench(store, progress, offline=offline)
    return build.build_sources(lock, workshop=_workshop(lock, bench), bench=bench)


def check_reproducible(lock: Lock, *, store: Store, progress: Progress, offline: bool) -> None:
    """Build every git source of ``lock`` once more; raise BuildError that lists what differs."""
    bench = _bench(store, progress, offline=offline)
    build.check_reproducible(lock, workshop=_workshop(lock, bench), bench=bench)


def fetch_sources(lock: Lock, *, store: Store, progress: Progress, offline: bool) -> None:
    """Bring what building the git sources needs: their commits and their build environments."""
    build.fetch_sources(lock, _bench(store, progress, offline=offline))


def _bench(store: Store, progress: Progress, *, offline: bool) -> Bench:
    def runtime() -> Runtime:
        return choose("auto", store)

    return Bench(store=store, runtime=runtime, progress=progress, offline=offline)


def _workshop(lock: Lock, bench: Bench) -> Callable[[], Workshop]:
    """Make the base of ``lock`` a workshop, when it is asked for."""

    def make() -> Workshop:
        store, offline, progress = bench.store, bench.offline, bench.progress
        base = lay_system(lock, store=store, offline=offline, progress=progress, stop=Event())
        if isinstance(lock.base, ImageBase):  # its layers were only looked up so far
            fetch_base(lock, store=store, offline=offline, progress=progress)
        return Workshop(
            target=python_target(lock.spec, lock.base),
            interpreter=interpreter(lock),
            layers=base.layers,
            settings=base.settings,
        )

    return make
