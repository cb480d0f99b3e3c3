"""Wheels that lie beside the lock: looked at first, since the lock itself says where they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.model.errors import LockError
from envbuilder.model.lock import Lock, Wheel
from envbuilder.model.reference import Digest
from envbuilder.model.spec import name_of
from envbuilder.resolve.context import Context


def take_beside(context: Context, lock: Lock, folder: Path) -> None:
    """Take in what lies where the lock, or the spec in it, says: nothing else is asked for that.

    Those are ``wheels/FILE`` from ``folder``, where lock and spec lie, and the spec's own paths.
    Raises LockError for a file of the spec's that is not the locked one.
    """
    paths = direct_paths(lock)
    for wheel in lock.wheels:
        path = folder / paths.get(wheel, f"wheels/{wheel.filename}")
        if not path.is_file():
            continue
        if wheel in paths and digest_of(path) != wheel.sha256:
            raise LockError(
                f"{path} is not the file that was locked ({wheel.sha256})",
                hint=f"envbuilder lock {lock.spec.name} takes the new one",
            )
        if has_wheel(context.store, wheel.sha256):
            continue
        if path.stat().st_size == wheel.size and digest_of(path) == wheel.sha256:
            context.store.adopt(path, wheel.sha256)
        else:
            context.progress.note(f"warning: {path} is not the locked file, and is passed over")


def direct_paths(lock: Lock) -> dict[Wheel, str]:
    """Say where the locked wheels lie that the spec names by path, from the spec's folder."""
    paths = {name_of(key): pin.path for key, pin in lock.spec.direct.items()}
    pairs = ((wheel, paths.get(wheel.name)) for wheel in lock.wheels)
    return {wheel: path for wheel, path in pairs if path is not None}


def digest_of(path: Path) -> Digest:
    """Hash the file at ``path``."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())
