"""All that is wanted of each package, put together as one entry of a spec."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from packaging.markers import Marker, UndefinedComparison
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from envbuilder.model.spec_words import MACHINES, PLATFORMS, Platform

from .statements import At, Role, Wanted

_PATCHED = re.compile(r"python_full_version|platform_(release|version)")
_NO_MARKER = "not for this Python and platform"
Entry = str | dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """One package: its name as first written, extras, versions, and the last that said it."""

    name: str
    extras: frozenset[str]
    specifier: SpecifierSet
    marker: str
    source: Mapping[str, str]
    index: str | None
    places: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.name}[{','.join(sorted(self.extras))}]" if self.extras else self.name

    @property
    def exact(self) -> bool:
        operators = {each.operator for each in self.specifier}
        wild = any(each.version.endswith(".*") for each in self.specifier)
        return bool(self.source) or (bool(operators & {"==", "==="}) and not wild)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The packages, constraints and overrides of a spec, by canonical name.

    ``remarks`` are what putting together did to single statements.
    """

    found: Mapping[Role, Mapping[str, _One]]
    remarks: Mapping[At, str]

    @property
    def index_urls(self) -> list[str]:
        """The addresses of indexes that serve only those packages that name them."""
        named = (each.index for each in self.found["packages"].values())
        return list(dict.fromkeys(url for url in named if url is not None))

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The packages whose version is not said exactly."""
        return tuple(each.name for each in self.found["packages"].values() if not each.exact)

    def entries(self, role: Role, folder: Path) -> dict[str, tuple[Entry, str]]:
        """Return key -> value and origin, as a spec in ``folder`` has them."""
        names = {url: name for name, url in name_indexes(self.index_urls).items()}
        listed = sorted(self.found[role].items())
        return {each.key: (_entry(each, names, folder), _origin(each, role)) for _, each in listed}


def choose_packages(
    wanted: Iterable[tuple[At, Wanted]],
    *,
    python: str | None,
    platform: Platform = "linux/amd64",
    pin: bool = False,
) -> Chosen:
    """Put together what is wanted for ``python`` (X.Y) and ``platform``; None takes all markers.

    Versions narrow each other; of two pins, and of two places, the later counts. With ``pin``,
    packages take the exact version that a constraint holds.
    """
    found: dict[Role, dict[str, _One]] = {"packages": {}, "constraints": {}, "overrides": {}}
    remarks: dict[At, str] = {}
    applied: set[At] = set()
    for at, fact in wanted:
        parsed = Requirement(fact.requirement)
        if not _applies(fact, parsed, python, platform):
            remarks.setdefault(at, _NO_MARKER)
            continue
        applied.add(at)
        name = canonicalize_name(parsed.name)
        before = found[fact.role].get(name)
        one = _one(at, fact, parsed, python)
        found[fact.role][name] = one if before is None else _joined(before, one)
        if before is not None and _contradict(before, one):
            remarks[at] = f"takes the place of {before.places[-1]}"
    remarks = {at: each for at, each in remarks.items() if each != _NO_MARKER or at not in applied}
    if pin:
        _hold(found)
    packages = found["packages"]
    held = {name: each for name, each in found["constraints"].items() if not _idle(name, packages)}
    return Chosen(found={**found, "constraints": held}, remarks=remarks)


def name_indexes(urls: Sequence[str]) -> dict[str, str]:
    """Give each index a name that says what it is: the last part of its address that tells one."""
    named: dict[str, str] = {}
    for url in urls:
        try:
            address = urlsplit(url)
        except ValueError:  # which the spec's own check tells in its words
            address = urlsplit("")
        parts = [part for part in address.path.split("/") if part not in {"", "simple", "whl"}]
        host = (address.hostname or "index").split(".")[0]
        base = canonicalize_name(re.sub(r"[^A-Za-z0-9]+", "-", parts[-1] if parts else host)).strip(
            "-"
        )
        name, number = base or "index", 2
        while name in named:
            name, number = f"{base}-{number}", number + 1
        named[name] = url
    return named


def may_hold(text: str) -> bool:
    """Return whether the marker ``text`` holds on any Python and platform that a spec may have."""
    marker = Marker(text)
    pythons = [f"3.{minor}" for minor in range(8, 20)]
    return any(_holds(marker, each, platform) for each in pythons for platform in PLATFORMS)


def _applies(fact: Wanted, parsed: Requirement, python: str | None, platform: Platform) -> bool:
    if python is None:
        return True
    if any(_holds(Marker(each), python, platform) for each in fact.unless):
        return False
    return parsed.marker is None or _holds(parsed.marker, python, platform)


def _holds(marker: Marker, python: str, platform: Platform) -> bool:
    if _PATCHED.search(str(marker)):
        return True
    try:
        return marker.evaluate(_where(python, platform))
    except UndefinedComparison:  # os_name ~= "posix": pip refuses it
        return False


def _where(python: str, platform: Platform) -> dict[str, str]:
    return {
        "python_version": python,
        "platform_machine": MACHINES[platform],
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }


def _one(at: At, fact: Wanted, parsed: Requirement, python: str | None) -> _One:
    patched = parsed.marker is not None and (python is None or _PATCHED.search(str(parsed.marker)))
    return _One(
        name=parsed.name,
        extras=frozenset(parsed.extras),
        specifier=parsed.specifier,
        marker=str(parsed.marker) if patched else "",
        source=fact.source,
        index=fact.index,
        places=(at.place,),
    )


def _joined(before: _One, after: _One) -> _One:
    source = after.source or before.source
    contradict = _contradict(before, after)
    return _One(
        name=before.name,
        extras=before.extras | after.extras,
        specifier=after.specifier if contradict else before.specifier & after.specifier,
        marker=before.marker if before.marker == after.marker else "",
        source=source,
        index=None if source else after.index or before.index,
        places=(*before.places, *after.places),
    )


def _contradict(before: _One, after: _One) -> bool:
    pins = [_pins(before), _pins(after)]
    other_place = bool(before.source) and bool(after.source) and before.source != after.source
    return other_place or (all(pins) and pins[0] != pins[1])


def _pins(one: _One) -> set[str]:
    return {each.version for each in one.specifier if each.operator in {"==", "==="}}


def _hold(found: dict[Role, dict[str, _One]]) -> None:
    """Give each package the exact version that a constraint has for it."""
    for name, each in found["packages"].items():
        held = found["constraints"].get(name)
        if held is not None and held.exact and not each.exact:
            places = (*each.places, *held.places)
            found["packages"][name] = replace(each, specifier=held.specifier, places=places)


def _idle(name: str, packages: Mapping[str, _One]) -> bool:
    return name in packages and packages[name].exact


def _entry(each: _One, names: Mapping[str, str], folder: Path) -> Entry:
    if each.source:
        table = dict(each.source)
        if "path" in table:
            table["path"] = os.path.relpath(table["path"], folder.resolve())
        return table
    version = str(each.specifier) or "*"
    version = f"{version}; {each.marker}" if each.marker else version
    return version if each.index is None else {"version": version, "index": names[each.index]}


def _origin(each: _One, role: Role) -> str:
    places = ", ".join(dict.fromkeys(each.places))
    return places if each.exact or role != "packages" else f"{places}; not pinned"
