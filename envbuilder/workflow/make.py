"""Make what a lock names: lock -> image, without a seal, a smoke or a line in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from envbuilder.engines.account import with_account
from envbuilder.engines.docker import build_with_docker
from envbuilder.engines.embedded import assemble
from envbuilder.engines.foundation import Foundation, fetch_base
from envbuilder.engines.place import on_free_place
from envbuilder.engines.remote_layers import held_remotely, offer_layers
from envbuilder.engines.reuse import ReusableLayers, compilable, held_in, reusable
from envbuilder.engines.source_wheels import fetch_sources, with_wheels
from envbuilder.engines.system import system_layers
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import lock_path, read_lock
from envbuilder.model.reference import ImageRef
from envbuilder.model.spec import Spec
from envbuilder.model.spec_file import load_each
from envbuilder.model.spec_words import Compression, Platform
from envbuilder.resolve.context import Context
from envbuilder.resolve.python.wheels import supply
from envbuilder.runtime import Runtime

from .foreign import check_runs
from .forms import chosen_compression, is_sealed_form
from .lock import current_lock
from .smoke import check_at_hand


def fetch(context: Context, lock: Lock) -> None:
    """Bring every artifact of ``lock`` into the store, and what builds its git sources."""
    fetch_base(context, lock)
    supply(context, lock, lock.wheels).bring_all(lock.wheels)
    fetch_sources(context, lock)


def engine_of(lock: Lock) -> str:
    """Name the engine that builds an environment: the one that it had so far, or needs."""
    return engine_needed(lock.spec) if lock.seal is None else lock.seal.engine


def engine_needed(spec: Spec) -> str:
    """Name the engine that can build ``spec``: only Docker runs steps on top of the packages."""
    return "docker" if spec.steps.after_python else "embedded"


def engine_for(spec_path: Path) -> str:
    """Name the engine that builds the environment of ``spec_path``, locked or not."""
    path = lock_path(spec_path)
    if path.exists():
        return engine_of(read_lock(path))
    return engine_needed(next(iter(load_each(spec_path).values())))


def make_all(context: Context, lock: Lock, *, engine: str) -> tuple[Lock, Image]:
    """Build the wheels of git sources, then the image; return the lock with those wheels, too."""
    lock = with_wheels(context, lock, engine=engine)
    return lock, make_image(context, lock, engine=engine)


def make_to_smoke(
    context: Context, spec_path: Path, *, runtime: Runtime, platform: Platform | None = None
) -> tuple[Lock, Image]:
    """Make the image of an environment, to be smoked by ``runtime``.

    Of a spec for several platforms it is that of ``platform``.
    Nothing is sealed or recorded. Raises what :func:`check_at_hand` does, before anything is made.
    """
    lock = current_lock(context, spec_path, platform=platform)
    check_at_hand(lock, runtime=runtime, folder=spec_path.parent)
    return make_as_locked(context, lock)


def make_as_locked(context: Context, lock: Lock) -> tuple[Lock, Image]:
    """Make the image of ``lock`` as :func:`make_all` does, by the engine that it has."""
    check_runs(context, lock.spec, lock, engine=engine_of(lock))
    return make_all(context, lock, engine=engine_of(lock))


def make_image(
    context: Context, lock: Lock, *, engine: str = "embedded", held: ReusableLayers | None = None
) -> Image:
    """Build the image of ``lock`` with ``engine``.

    The embedded one wants the wheels of git sources (Docker would compile them each time anew);
    layers that are ``held`` elsewhere it does not make: the store then lacks them. Without those,
    what the machines of a team share is taken from there, and what they lack is put there.
    """
    if engine == "docker":
        return build_with_docker(context, lock)
    if held is None:
        held = held_remotely(context, lock, bring=True)
    held = compilable(context.store, lock, held)
    elsewhere = {wheel for group in held.wheels for wheel in group.wheels}
    source = supply(context, lock, [wheel for wheel in lock.wheels if wheel not in elsewhere])
    image = assemble(
        context,
        lock,
        foundation=lambda within: _foundation(within, lock),
        bring=source.bring,
        held=held,
    )
    offer_layers(context, lock, image)
    return image


def _foundation(context: Context, lock: Lock) -> Foundation:
    below = on_free_place(context, lock, system_layers(context, lock))
    return with_account(context, lock, below)


def reuse_at(
    context: Context,
    spec_path: Path,
    target: ImageRef | None,
    *,
    compression: Compression | None = None,
    platform: Platform | None = None,
) -> Callable[[Lock], ReusableLayers] | None:
    """Return what names the layers of a lock that a push to ``target`` need not have here.

    Those are the layers of its last seal that are there, and those that the team shares. None
    without a target. A layer is recompressed where it is, so for another ``compression`` than that
    of the build none is left out.
    """
    if target is None:
        return None
    path, repository = lock_path(spec_path, platform), context.registries.repository(target)
    old = read_lock(path) if path.exists() else None

    def held(new: Lock) -> ReusableLayers:
        if not is_sealed_form(chosen_compression(new.spec, compression)):
            return held_remotely(context, new, bring=True)
        there = held_in(repository, reusable(old, new)) if old is not None else ReusableLayers()
        return there | held_remotely(context, new, bring=False)

    return held
