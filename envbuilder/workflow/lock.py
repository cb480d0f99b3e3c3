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
from envbuilder.model.spec_file import load
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


def lock_environment(context: Context, spec_path: Path, *, release: Collection[str] = ()) -> Lock:
    """Resolve the spec at ``spec_path``, write its lock beside it, and return it.

    Pins that nothing forces stay; see ``resolve_spec``. A seal stays where the lock does. Raises
    LockError if the present lock cannot be read, unless EVERYTHING in it is let go, and
    UsageError if ``release`` names what it does not hold.
    """
    spec = load(spec_path)
    path = lock_path(spec_path)
    try:
        previous = read_lock(path) if path.exists() else None
    except LockError:
        if EVERYTHING not in release:
            raise
        previous = None
    names = releasable(release, spec, previous)
    lock = resolve_spec(context, spec, folder=spec_path.parent, previous=previous, release=names)
    for key, name in unknown_variables(lock):
        text = f"warning: env.{key}: nothing sets ${name}, so it is empty; $$ is a dollar"
        context.progress.note(text)
    if previous is not None and lock == previous.unsealed():
        return previous
    write_lock(path, lock)
    return lock


def current_lock(context: Context, spec_path: Path, *, locked: bool = False) -> Lock:
    """Read the lock of ``spec_path``; make it if there is none, unless ``locked`` forbids that.

    What lies beside it of its files is taken in. Raises LockError if it is older than its spec, or
    than what the spec names by path: locking anew is a decision, not a side effect.
    """
    path = lock_path(spec_path)
    if path.exists() or locked:
        lock = read_lock(path)
        check_fresh(lock, load(spec_path), name=spec_path.stem)
        take_beside(context, lock, spec_path.parent)
        take_files(context, lock, spec_path.parent)
        take_archives_beside(context, lock, spec_path.parent)
        return lock
    if context.offline:
        raise NetworkError(f"--offline, and there is no lock {path}", hint="lock while online")
    return lock_environment(context, spec_path)
