"""What a rendered Dockerfile is told of wheels: pins by hash, with the places that the spec names.

A wheel that the spec names by path lies in the rendered folder itself, below ``wheels/``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from envbuilder.layers.wheel_reconstruction import has_wheel, wheel_file
from envbuilder.model.errors import BuildError
from envbuilder.model.lock import Lock, Wheel
from envbuilder.model.plan import is_requested
from envbuilder.resolve.python.beside import direct_paths
from envbuilder.resolve.python.direct import direct_urls
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated

FOLDER = "wheels"
_MOUNTED = "/run/given"
"""Where the stages of the Dockerfile see that folder."""


def requirements_text(lock: Lock, wheels: Iterable[Wheel]) -> str:
    """Return the lines of a requirements file for ``wheels``, with the named indexes they need."""
    listed = list(wheels)
    chosen = lock.spec.indexes.chosen
    names = sorted({chosen[wheel.name] for wheel in listed if wheel.name in chosen})
    lines = [f"--extra-index-url {lock.spec.index.named[name]}\n" for name in names]
    return "".join([*lines, *(_line(lock, wheel) for wheel in listed)])


def given_paths(lock: Lock) -> dict[Wheel, str]:
    """Name the wheels that the rendered folder holds, by their paths in it."""
    return {wheel: f"{FOLDER}/{wheel.filename}" for wheel in direct_paths(lock)}


def copy_given(lock: Lock, folder: Path, *, store: Store) -> None:
    """Copy the wheels that the rendered ``folder`` holds out of ``store``.

    Raises BuildError for one that the store does not have, or has damaged, and for a full disk.
    """
    for wheel, path in given_paths(lock).items():
        if not has_wheel(store, wheel.sha256):
            hint = f"envbuilder lock {lock.spec.name} takes it in, where the file lies"
            raise BuildError(f"{wheel.filename} is not in the store", hint=hint)
        with wheel_file(store, wheel.sha256) as source, translated(folder):
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / path)


def _line(lock: Lock, wheel: Wheel) -> str:
    mark = "  # requested" if is_requested(lock, wheel) else ""
    place = direct_urls(lock).get(wheel)
    if wheel in given_paths(lock):
        place = f"file://{_MOUNTED}/{wheel.filename}"
    what = f"{wheel.name}=={wheel.version}" if place is None else f"{wheel.name} @ {place}"
    return f"{what} --hash={wheel.sha256}{mark}\n"
