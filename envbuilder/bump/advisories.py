"""Which locked packages have known holes, by a copy of the OSV database on this machine.

OSV (ossf.github.io/osv-schema) publishes one JSON document per advisory, and all of an ecosystem
as one zip. Nothing is asked over the network: what an environment holds is nobody's business.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envbuilder.errors import UsageError
from envbuilder.lock import Lock, Wheel

from .pins import SYSTEM, Pin

_ECOSYSTEM = "PyPI"


def insecure(lock: Lock, database: Path) -> list[Pin]:
    """Give pins that close the known holes of ``lock``: the least fixed versions, and the system.

    A package that the spec does not name, or whose advisory knows no fix, is only let go. Raises
    UsageError where ``database`` is no folder or zip of OSV documents.
    """
    locked = {wheel.name: wheel for wheel in lock.wheels}
    fixes: dict[str, list[Version]] = {}
    for advisory in _advisories(database):
        for affected in advisory.get("affected", ()):
            wheel = locked.get(_name(affected))
            if wheel is not None and not advisory.get("withdrawn") and _hits(affected, wheel):
                fixes.setdefault(wheel.name, []).extend(_fixes(affected, wheel))
    named = lock.spec.requested
    pins = [
        Pin(name=name, specifier=f"=={max(versions)}")
        if versions and name in named
        else Pin(name=name)
        for name, versions in sorted(fixes.items())
    ]
    return [*pins, Pin(name=SYSTEM)]


def _advisories(database: Path) -> Iterator[Mapping[str, Any]]:
    found = False
    try:
        for text in _documents(database):
            found = True
            yield json.loads(text)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{database} is no OSV database: {error}") from error
    if not found:
        raise UsageError(
            f"{database} holds no *.json documents", hint="unpack, or give, OSV's zip for PyPI"
        )


def _documents(database: Path) -> Iterator[bytes]:
    if database.is_dir():
        yield from (path.read_bytes() for path in sorted(database.rglob("*.json")))
        return
    with zipfile.ZipFile(database) as archive:
        names = (name for name in archive.namelist() if name.endswith(".json"))
        yield from (archive.read(name) for name in names)


def _name(affected: Mapping[str, Any]) -> str:
    package = affected.get("package", {})
    if package.get("ecosystem") != _ECOSYSTEM:
        return ""
    return canonicalize_name(package.get("name", ""))


def _hits(affected: Mapping[str, Any], wheel: Wheel) -> bool:
    if wheel.version in affected.get("versions", ()):
        return True
    version = Version(wheel.version)
    return any(_inside(version, events) for events in _events(affected))


def _inside(version: Version, events: list[tuple[str, Version]]) -> bool:
    """Walk a range's events in order; the last that applies decides."""
    inside = False
    for kind, at in sorted(events, key=lambda event: event[1]):
        if kind == "introduced" and version >= at:
            inside = True
        if (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def _fixes(affected: Mapping[str, Any], wheel: Wheel) -> list[Version]:
    """Give the least version above the locked one that an advisory calls fixed, if it does."""
    current = Version(wheel.version)
    fixed = [
        at
        for events in _events(affected)
        for kind, at in events
        if kind == "fixed" and at > current
    ]
    return [min(fixed)] if fixed else []


def _events(affected: Mapping[str, Any]) -> Iterator[list[tuple[str, Version]]]:
    for each in affected.get("ranges", ()):
        if each.get("type") != "ECOSYSTEM":
            continue
        pairs = [(kind, at) for event in each.get("events", ()) for kind, at in event.items()]
        yield [(kind, version) for kind, at in pairs if (version := _version(at)) is not None]


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:  # an advisory for releases that no index would serve today
        return None
