"""Spec -> lock: made where there is none, read where there is one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from envbuilder.engines.build_environment import build_environment
from envbuilder.engines.system_pins import SystemPins
from envbuilder.model.errors import LockError, NetworkError
from envbuilder.model.image_config import unknown_variables
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import check_fresh, lock_path, read_lock, write_lock
from envbuilder.model.spec import Spec
from envbuilder.model.spec_file import load, load_each, platforms_at
from envbuilder.model.spec_words import Platform
from envbuilder.resolve.archives.supply import take_archives_beside
from envbuilder.resolve.context import Context
from envbuilder.resolve.own_files import lock_files, take_files
from envbuilder.resolve.python.beside import take_beside
from envbuilder.resolve.release import EVERYTHING, SYSTEM, releasable
from envbuilder.resolve.resolve import resolve


def resolve_spec(
    context: Context,
    spec: Spec,
    *,
    folder: Path,
    previous: Lock | None = None,
    release: Collection[str] = (),
) -> Lock:
    """Pin all of ``spec``: its own files, base, packages, then the packages of an image base.

    The spec lies in ``folder``. What ``previous`` pinned stays, but for what ``release`` names; see
    ``resolve``.
    """
    files = lock_files(context, spec, folder=folder)
    kept = None if {SYSTEM, EVERYTHING} & set(release) else previous
    pins = SystemPins(context=context, held=kept)
    lock = resolve(
        context,
        spec,
        previous=previous,
        release=release,
        folder=folder,
        building=lambda bare: build_environment(context, bare, pins),
    )
    return replace(pins.pin(lock), files=files)


def lock_environment(
    context: Context,
    spec_path: Path,
    *,
    release: Collection[str] = (),
    platform: Platform | None = None,
) -> Lock:
    """Resolve the spec at ``spec_path``, write its lock beside it, and return it.

    Pins that nothing forces stay; see ``resolve_spec``. A seal stays where the lock does. Of a
    spec for several platforms it is the lock of ``platform``, which begins with the pins of the
    first platform. Raises LockError if the present lock cannot be read, unless EVERYTHING in it is
    let go, and UsageError if ``release`` names what it does not hold.
    """
    spec = load(spec_path, platform)
    path = lock_path(spec_path, platform)
    previous = _previous(spec_path, platform, release)
    nearest = previous or _previous(spec_path, None, release)  # the first platform's
    names = releasable(release, spec, [nearest])
    lock = _locked(context, spec, spec_path.parent, nearest, names)
    if lock != previous:
        write_lock(path, lock)
    return lock


def lock_platforms(
    context: Context, spec_path: Path, *, release: Collection[str] = ()
) -> dict[Platform | None, Lock]:
    """Lock each platform of the spec at ``spec_path``, as :func:`lock_environment` does.

    Nothing is written before all are locked. A platform without a lock begins with the pins of the
    one before it, so that they have the same versions where they can.
    """
    specs = load_each(spec_path)
    if len(specs) == 1:
        return {None: lock_environment(context, spec_path, release=release)}
    held = {each: _previous(spec_path, each, release) for each in specs}
    made: dict[Platform | None, Lock] = {}
    for platform, spec in specs.items():
        names = releasable(release, spec, held.values())
        nearest = held[platform] or next(reversed(made.values()), None)
        own = names if held[platform] else frozenset[str]()
        made[platform] = _locked(context, spec, spec_path.parent, nearest, own)
    for platform, lock in made.items():
        if lock != held[platform]:
            write_lock(lock_path(spec_path, platform), lock)
    return made


def _previous(spec_path: Path, platform: Platform | None, release: Collection[str]) -> Lock | None:
    """Read the present lock; one that cannot be read is none where all of it is let go."""
    path = lock_path(spec_path, platform)
    try:
        return read_lock(path) if path.exists() else None
    except LockError:
        if EVERYTHING not in release:
            raise
        return None


def _locked(
    context: Context, spec: Spec, folder: Path, previous: Lock | None, release: Collection[str]
) -> Lock:
    """Resolve ``spec``; return ``previous`` with its seal where it comes to the same."""
    lock = resolve_spec(context, spec, folder=folder, previous=previous, release=release)
    for key, name in unknown_variables(lock):
        text = f"warning: env.{key}: nothing sets ${name}, so it is empty; $$ is a dollar"
        context.progress.note(text)
    return previous if previous is not None and lock == previous.unsealed() else lock


def current_lock(
    context: Context,
    spec_path: Path,
    *,
    locked: bool = False,
    platform: Platform | None = None,
    known: Lock | None = None,
) -> Lock:
    """Read the lock of ``spec_path``; make it if there is none, unless ``locked`` forbids that.

    Of a spec for several platforms it is the lock of ``platform``. ``known``: it was read.
    What lies beside it of its files is taken in. Raises LockError if it is older than its spec, or
    than what the spec names by path: locking anew is a decision, not a side effect.
    """
    path = lock_path(spec_path, platform)
    if known is not None or path.exists() or locked:
        lock = known or read_lock(path)
        check_fresh(lock, load(spec_path, platform), name=spec_path.stem)
        take_beside(context, lock, spec_path.parent)
        take_files(context, lock, spec_path.parent)
        take_archives_beside(context, lock, spec_path.parent)
        return lock
    if context.offline:
        raise NetworkError(f"--offline, and there is no lock {path}", hint="lock while online")
    return lock_environment(context, spec_path, platform=platform)


def current_locks(
    context: Context, spec_path: Path, *, locked: bool = False
) -> dict[Platform | None, Lock]:
    """Read or make the lock of each platform of ``spec_path``, as :func:`current_lock` does."""
    named = platforms_at(spec_path)
    if not locked and not any(lock_path(spec_path, each).exists() for each in named):
        if context.offline:
            current_lock(context, spec_path, platform=named[0])  # says that there is none
        return lock_platforms(context, spec_path)
    return {each: current_lock(context, spec_path, locked=locked, platform=each) for each in named}
