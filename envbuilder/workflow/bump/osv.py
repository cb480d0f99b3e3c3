"""A copy of the OSV database (ossf.github.io/osv-schema) on this machine: one JSON per advisory.

All of an ecosystem comes as one zip. Nothing is asked over the network: what an environment holds
is nobody's business.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from envbuilder.layers.zip_member import ZIP_DAMAGES, read_member
from envbuilder.model.errors import UsageError

_LONGEST = 4 << 20
"""Bytes of one advisory; the longest has a tenth."""
_FLOOR, _RATIO = 256 << 20, 20
"""Bytes that a zip may inflate to, whatever its size is, and for each of its own."""

Order = Callable[[str], Any]
"""Give what sorts a version among others; None for what is none."""


def documents(database: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each document; raise UsageError if there is none."""
    found = False
    try:
        for name, text in _files(database):
            found = True
            yield name, text
    except ZIP_DAMAGES as error:
        raise UsageError(f"{database} is no OSV database: {error}") from error
    except OSError as error:
        raise UsageError(f"cannot read {database}: {error}") from error
    if not found:
        raise UsageError(
            f"{database} holds no *.json documents",
            hint="unpack, or give, OSV's zip for PyPI or Debian",
        )


def _files(database: Path) -> Iterator[tuple[str, bytes]]:
    if database.is_dir():
        for path in sorted(database.rglob("*.json")):
            with path.open("rb") as file:
                text = file.read(_LONGEST + 1)
            if len(text) > _LONGEST:
                raise ValueError(f"{path} has more than {_LONGEST} bytes, which no advisory needs")
            yield str(path), text
        return
    with zipfile.ZipFile(database) as archive:
        names = (name for name in archive.namelist() if name.endswith(".json"))
        left = max(_FLOOR, _RATIO * database.stat().st_size)
        for name in names:
            text = read_member(archive, name, limit=min(_LONGEST, left))
            left -= len(text)
            yield f"{database}:{name}", text


def hits(affected: Mapping[str, Any], version: str, order: Order) -> bool:
    """Return whether an entry of ``affected`` says that ``version`` has the hole."""
    at = order(version)
    if any(order(text) == at for text in affected.get("versions", ())):
        return True
    return any(_inside(at, events) for events in _events(affected, order))


def fix(affected: Mapping[str, Any], version: str, order: Order) -> str:
    """Return the least version above ``version`` that an entry calls fixed; empty without one."""
    at = order(version)
    later = [
        (each, text)
        for events in _events(affected, order)
        for kind, each, text in events
        if kind == "fixed" and each > at
    ]
    return min(later)[1] if later else ""


def mended(affected: Mapping[str, Any], version: str, order: Order) -> str:
    """Return the latest version up to ``version`` that an entry calls fixed; empty if none is."""
    at = order(version)
    earlier = [
        (each, text)
        for events in _events(affected, order)
        for kind, each, text in events
        if kind == "fixed" and each <= at
    ]
    return max(earlier)[1] if earlier else ""


def _inside(version: Any, events: list[tuple[str, Any, str]]) -> bool:  # noqa: ANN401 (any order)
    """Walk a range's events in order; the last that applies decides."""
    inside = False
    for kind, at, _ in sorted(events, key=lambda event: event[1]):
        if kind == "introduced" and version >= at:
            inside = True
        if (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def _events(affected: Mapping[str, Any], order: Order) -> Iterator[list[tuple[str, Any, str]]]:
    for each in affected.get("ranges", ()):
        if each.get("type") != "ECOSYSTEM":
            continue
        pairs = [(kind, at) for event in each.get("events", ()) for kind, at in event.items()]
        placed = [(kind, order(text), text) for kind, text in pairs]
        yield [event for event in placed if event[1] is not None]
