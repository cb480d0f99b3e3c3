"""Which locked packages have known holes, by a copy of the OSV database on this machine.

OSV (ossf.github.io/osv-schema) publishes one JSON document per advisory, and all of an ecosystem
as one zip. Nothing is asked over the network: what an environment holds is nobody's business.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock

from .pins import SYSTEM, Pin

_ECOSYSTEM = "PyPI"


def insecure(lock: Lock, database: Path) -> list[Pin]:
    """Return pins that close the known holes of ``lock``: the least fixed versions, and the system.

    A package that the spec does not name, or whose advisory knows no fix, is only let go. Git
    sources are left out: the version of a commit does not tell what was mended in it. Raises
    UsageError if ``database`` is no folder or zip of OSV documents.
    """
    # Advisories know nothing of builds: 2.6.0+cu124 has the holes of 2.6.0.
    locked = {wheel.name: Version(Version(wheel.version).public) for wheel in lock.wheels}
    fixes: dict[str, list[Version]] = {}
    for name, text in _documents(database):
        try:
            for package, fixed in _holes(json.loads(text), locked):
                fixes.setdefault(package, []).extend(fixed)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{name} is no OSV document: {error!r}") from error
    named = lock.spec.requested
    pins = [
        Pin(name=name, specifier=f"=={max(versions)}")
        if versions and name in named
        else Pin(name=name)
        for name, versions in sorted(fixes.items())
    ]
    return [*pins, Pin(name=SYSTEM)]


def _documents(database: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each document; raise UsageError if there is none."""
    found = False
    try:
        for name, text in _files(database):
            found = True
            yield name, text
    except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{database} is no OSV database: {error}") from error
    if not found:
        raise UsageError(
            f"{database} holds no *.json documents", hint="unpack, or give, OSV's zip for PyPI"
        )


def _files(database: Path) -> Iterator[tuple[str, bytes]]:
    if database.is_dir():
        yield from ((str(path), path.read_bytes()) for path in sorted(database.rglob("*.json")))
        return
    with zipfile.ZipFile(database) as archive:
        names = (name for name in archive.namelist() if name.endswith(".json"))
        yield from ((f"{database}:{name}", archive.read(name)) for name in names)


def _holes(
    advisory: Mapping[str, Any], locked: Mapping[str, Version]
) -> Iterator[tuple[str, list[Version]]]:
    """Name each locked package that ``advisory`` concerns, with the versions that mend it."""
    if advisory.get("withdrawn"):
        return
    for affected in advisory.get("affected", ()):
        name = _name(affected)
        if name in locked and _hits(affected, locked[name]):
            yield name, _fixes(affected, locked[name])


def _name(affected: Mapping[str, Any]) -> str:
    package = affected.get("package", {})
    if package.get("ecosystem") != _ECOSYSTEM:
        return ""
    return canonicalize_name(package.get("name", ""))


def _hits(affected: Mapping[str, Any], version: Version) -> bool:
    if any(_version(text) == version for text in affected.get("versions", ())):
        return True
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


def _fixes(affected: Mapping[str, Any], current: Version) -> list[Version]:
    """Return the least version above the locked one that an advisory calls fixed, if it does."""
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
