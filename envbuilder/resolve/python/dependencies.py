"""What the packages of a lock require of each other, read from their own metadata.

A wheel's METADATA is read out of the store where the store has the wheel, else with a few small
range requests out of the index's file; either way only once, and remembered by the wheel's hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envbuilder.layers.seekable import seekable
from envbuilder.layers.wheel_metadata import read_metadata
from envbuilder.layers.wheel_reconstruction import has_wheel, open_wheel
from envbuilder.model.lock import Lock, Wheel
from envbuilder.resolve.context import Context
from envbuilder.resolve.target import python_target
from envbuilder.storage.store import Store

from .locate import locate_locked

_KIND = "requires"
_AT_ONCE = 8
_NO_NUMBER = re.compile(r"\d{4000}")  # Python turns no text of 4,300 digits into a number


def read_needs(context: Context, lock: Lock) -> dict[str, tuple[Requirement, ...]]:
    """Return for each package of ``lock`` its requirements that apply there, extras included.

    Raises NetworkError and ResolutionError if a wheel's metadata is not in the store and the
    index does not help.
    """
    store = context.store
    lines = {each.name: _known(store, each) for each in lock.wheels}
    missing = [each for each in lock.wheels if lines[each.name] is None]
    lines |= _read_all(context, lock, missing)
    lines |= {source.name: source.requires_dist for source in lock.built}
    requirements = {name: _parse(each or ()) for name, each in lines.items()}
    return _applying(lock, requirements)


def _known(store: Store, wheel: Wheel) -> tuple[str, ...] | None:
    if (remembered := store.record(_KIND, str(wheel.sha256), tuple[str, ...])) is not None:
        return remembered
    if not has_wheel(store, wheel.sha256):
        return None
    with open_wheel(store, wheel.sha256) as file:
        return _remember(store, wheel, file)


def _read_all(context: Context, lock: Lock, wheels: list[Wheel]) -> dict[str, tuple[str, ...]]:
    """Read what the store does not have from the index, a few wheels at a time."""
    urls = locate_locked(context, lock, wheels)

    read_range = context.indexes.read_range

    def read(wheel: Wheel) -> tuple[str, ...]:
        with seekable(wheel.size, lambda at, size: read_range(urls[wheel], at, size)) as file:
            return _remember(context.store, wheel, file)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip((wheel.name for wheel in wheels), pool.map(read, wheels), strict=True))


def _remember(store: Store, wheel: Wheel, file: BinaryIO) -> tuple[str, ...]:
    """Read the Requires-Dist lines of a wheel (core metadata, PEP 566)."""
    headers = read_metadata(file, wheel.filename)
    found = tuple(str(line) for line in headers.get_all("Requires-Dist") or ())
    store.put_record(_KIND, str(wheel.sha256), found)
    return found


def _parse(lines: Iterable[str]) -> list[Requirement]:
    """Parse requirements; what an old release wrote in no standard's form tells us nothing."""
    parsed = []
    for line in lines:
        if _NO_NUMBER.search(line):
            continue
        try:
            parsed.append(Requirement(line))
        except InvalidRequirement:
            continue
    return parsed


def _applying(
    lock: Lock, requirements: Mapping[str, list[Requirement]]
) -> dict[str, tuple[Requirement, ...]]:
    """Keep the requirements whose markers hold, for the extras that somebody asks for."""
    markers = python_target(lock.spec, lock.base).markers()
    applying: dict[str, dict[str, Requirement]] = {name: {} for name in requirements}
    open_ends = [(name, "") for name in requirements]
    open_ends += [_end for key in lock.spec.packages for _end in _ends(Requirement(key))]
    seen: set[tuple[str, str]] = set()
    while open_ends:
        end = open_ends.pop()
        if end in seen:
            continue
        seen.add(end)
        name, extra = end
        for each in requirements.get(name, ()):
            if each.marker is None or each.marker.evaluate(markers | {"extra": extra}):
                applying[name][str(each)] = each
                open_ends += _ends(each)
    return {name: tuple(each.values()) for name, each in applying.items()}


def _ends(requirement: Requirement) -> list[tuple[str, str]]:
    return [(canonicalize_name(requirement.name), extra) for extra in requirement.extras]
