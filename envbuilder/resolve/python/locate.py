"""Where the wheels of a lock lie just now: the spec's addresses, and what indexes offer."""

from __future__ import annotations

from collections.abc import Iterable

from envbuilder.model.errors import ResolutionError
from envbuilder.model.lock import Lock, Wheel
from envbuilder.resolve.context import Context
from envbuilder.resolve.target import python_target

from .beside import direct_paths
from .direct import direct_urls
from .requirements import locate_wheels


def locate_locked(context: Context, lock: Lock, wheels: Iterable[Wheel]) -> dict[Wheel, str]:
    """Say for each of ``wheels``, which are the lock's, where to get it: wheel -> URL.

    Raises ResolutionError for one that the spec names by path, as no URL leads to that, and what
    ``locate_wheels`` raises.
    """
    wanted = list(wheels)
    addresses, paths = direct_urls(lock), direct_paths(lock)
    if lost := [f"{wheel.filename} ({paths[wheel]})" for wheel in wanted if wheel in paths]:
        raise ResolutionError(
            f"neither in the store nor beside the spec: {', '.join(lost)}",
            hint="put the file there, from the spec's folder, or into wheels/ beside the lock",
        )
    found = {wheel: addresses[wheel] for wheel in wanted if wheel in addresses}
    target = python_target(lock.spec, lock.base)
    rest = (wheel for wheel in wanted if wheel not in found)
    return found | locate_wheels(
        rest, indexes=context.indexes, target=target, index=lock.spec.indexes
    )
