"""Which packages of an image have known holes, by copies of the OSV database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuilder.evidence.bill import Bill, Part
from envbuilder.model.codec import any_json
from envbuilder.model.debian_version import version_key
from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock

from .osv import Order, documents, fix, hits, mended
from .pins import SYSTEM, Pin

_Key = tuple[str, str]
"""The ecosystem in OSV's words, and the package's name there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """An advisory about a package that the image has; ``affected`` if the image has the hole.

    ``fixed`` is the least version that closes it or, where it is closed, the one that did; empty
    if none is known. ``names`` are the advisory's identifiers, its own first.
    """

    names: tuple[str, ...]
    part: Part
    affected: bool
    fixed: str = ""

    def __str__(self) -> str:
        """Say what it is, where, and what closes it."""
        known = f"closed by {self.fixed}" if self.fixed else "no fix is known"
        return f"{', '.join(self.names[:2])} in {self.part.name} {self.part.version}: {known}"


def read_concerns(bill: Bill, databases: Iterable[Path]) -> tuple[Concern, ...]:
    """Return every advisory about a package of ``bill``, by package and name.

    Git sources are left out: the version of a commit does not tell what was mended in it. Debian's
    packages are looked up by their source. Raises UsageError for a database that is no folder or
    zip of OSV documents.
    """
    held = _held(bill)
    found = [
        concern
        for database in databases
        for name, text in documents(database)
        for concern in _parsed(name, text, held)
    ]
    return tuple(sorted(found, key=lambda each: (each.part.name, each.names, each.part.purl)))


def closing_pins(lock: Lock, concerns: Iterable[Concern]) -> list[Pin]:
    """Return pins that close the holes of ``lock``: the least fixed versions, and the system.

    A package that the spec does not name, or whose advisory knows no fix, is only let go.
    """
    fixes: dict[str, list[Version]] = {}
    for each in concerns:
        if each.affected and each.part.kind == "python":
            fixed = [Version(each.fixed)] if each.fixed else []
            fixes.setdefault(each.part.name, []).extend(fixed)
    pins = [
        Pin(name=name, specifier=f"=={max(versions)}")
        if versions and name in lock.spec.requested
        else Pin(name=name)
        for name, versions in sorted(fixes.items())
    ]
    return [*pins, Pin(name=SYSTEM)]


def _held(bill: Bill) -> dict[_Key, list[Part]]:
    vendor, number = bill.release
    systems = [f"{vendor.capitalize()}:{number}{more}" for more in ("", ":LTS")]
    held: dict[_Key, list[Part]] = {}
    for part in bill.parts:
        if part.kind == "python":
            held.setdefault(("PyPI", part.name), []).append(part)
        elif part.kind == "deb":
            for system in systems:
                held.setdefault((system, part.source), []).append(part)
    return held


def _parsed(name: str, text: bytes, held: Mapping[_Key, list[Part]]) -> Iterator[Concern]:
    try:
        yield from _concerns(any_json(text), held)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{name} is no OSV document: {error!r}",
            hint="--security takes a folder or a zip that holds nothing else",
        ) from error


def _concerns(advisory: Mapping[str, Any], held: Mapping[_Key, list[Part]]) -> Iterator[Concern]:
    """Name each part that ``advisory`` is about, once, whatever number of entries it has."""
    identifier = str(advisory["id"])  # which every one has, and no other JSON that lies about
    if advisory.get("withdrawn"):
        return
    entries: dict[Part, list[Mapping[str, Any]]] = {}
    for affected in advisory.get("affected", ()):
        for part in held.get(_key(affected), ()):
            entries.setdefault(part, []).append(affected)
    names = (identifier, *map(str, _others(advisory)))
    for part, found in entries.items():
        yield _concern(names, part, found)


def _others(advisory: Mapping[str, Any]) -> Iterable[object]:
    """Return an advisory's other names; Debian's call the CVE the one that they come from."""
    return (*advisory.get("aliases", ()), *advisory.get("upstream", ()))


def _concern(names: tuple[str, ...], part: Part, entries: Iterable[Mapping[str, Any]]) -> Concern:
    # Advisories know nothing of builds: 2.6.0+cu124 has the holes of 2.6.0.
    deb = part.kind == "deb"
    version = part.source_version if deb else Version(part.version).public
    order: Order = version_key if deb else _python_version
    open_entries = [each for each in entries if hits(each, version, order)]
    say = fix if open_entries else mended
    fixes = [text for each in open_entries or entries if (text := say(each, version, order))]
    fixed = max(fixes, key=order, default="")
    return Concern(names=names, part=part, affected=bool(open_entries), fixed=fixed)


def _key(affected: Mapping[str, Any]) -> _Key:
    package = affected.get("package", {})
    system, name = str(package.get("ecosystem", "")), package.get("name", "")
    return system, str(canonicalize_name(name)) if system == "PyPI" else str(name)


def _python_version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError:  # an advisory for releases that no index would serve today
        return None
