"""Environments between two locks: each made of whole changes, so that no resolver is needed.

Two locks differ in parts: packages, the base, settings. A mixture takes some of these parts from
the bad lock and the rest from the good one; every artifact in it is one that either lock holds.
Parts that fit only together (a package and the version of another that it insists on) move as one
:class:`Atom`, and an atom says which others must move before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.filenames import parse_wheel_filename
from envbuilder.model.lock import ArchiveSource, GitSource, Lock, Source, Wheel
from envbuilder.model.lock_diff import Change, Kind, Needs, Why, artifacts, compare
from envbuilder.model.spec import Spec, from_builtins, to_builtins

BASE = "base and system"
SETTINGS = "settings"
PYTHON = "python"
"""Names of the parts that are no packages."""
_PARTS = {"base": BASE, "system": BASE, "python": PYTHON}
_FROM_BAD = {"smoke", "index"}  # one question for all mixtures, asked of one set of indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class Atom:
    """Parts that only move together; ``after`` are the positions of the atoms that must be in.

    ``asked`` tells whether the spec says something else of one of them: the first to suspect.
    """

    parts: tuple[str, ...]
    after: frozenset[int]
    asked: bool = False

    def __str__(self) -> str:
        return " + ".join(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The two ends of a bisection, and the atoms between them, dependencies first.

    What was asked for stands as far in front as that allows.
    """

    good: Lock
    bad: Lock
    atoms: tuple[Atom, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """Say how likely each atom is to be guilty: what was asked for, as likely as all others."""
        asked = sum(atom.asked for atom in self.atoms)
        others = len(self.atoms) - asked
        return tuple(max(1.0, others / asked) if atom.asked else 1.0 for atom in self.atoms)

    def close(self, chosen: Iterable[int]) -> frozenset[int]:
        """Add whatever the chosen atoms need to have moved before them."""
        closed: set[int] = set()
        wanted = [*chosen]
        while wanted:
            if (atom := wanted.pop()) not in closed:
                closed.add(atom)
                wanted += self.atoms[atom].after
        return frozenset(closed)

    def parts(self, chosen: Iterable[int]) -> frozenset[str]:
        """Name the parts of these atoms."""
        return frozenset(part for atom in chosen for part in self.atoms[atom].parts)

    def mix(self, chosen: Iterable[int]) -> Lock:
        """Make the lock with these atoms' parts from the bad end, and all others from the good."""
        return mix(self.good, self.bad, self.parts(chosen))


def span(good: Lock, bad: Lock, *, good_needs: Needs, bad_needs: Needs) -> Span:
    """Find what differs between the ends, and what of it fits only together.

    What the smoke expects is the bad end's throughout.
    """
    changes = [(part, change) for change in compare(good, bad) if (part := _part(change))]
    parts = sorted({part for part, _ in changes})
    asked = {part for part, change in changes if change.why is Why.ASKED}
    ties = {part: set[str]() for part in parts}
    before, after = artifacts(good), artifacts(bad)
    for part in parts:
        ties[part] |= _first(part, before, after, good_needs, bad_needs) & ties.keys()
    if PYTHON in ties:
        for part in parts:
            if part == BASE or _is_bound(before.get(part)) or _is_bound(after.get(part)):
                ties[part].add(PYTHON)
                ties[PYTHON].add(part)
    return Span(good=good, bad=bad, atoms=_atoms(ties, asked))


def mix(good: Lock, bad: Lock, parts: Collection[str]) -> Lock:
    """Make a lock of ``good`` with ``parts`` taken from ``bad``."""
    before, after = artifacts(good), artifacts(bad)
    names = before.keys() | after.keys()
    chosen = [(after if name in parts else before).get(name) for name in names]
    below, about = bad if BASE in parts else good, bad if SETTINGS in parts else good
    return replace(
        good.unsealed(),
        spec=_spec(good, bad, parts),
        base=below.base,
        builder=below.builder,
        wheels=tuple(sorted(each for each in chosen if isinstance(each, Wheel))),
        files=about.files,
    ).with_built(each for each in chosen if isinstance(each, GitSource | ArchiveSource))


def _part(change: Change) -> str | None:
    """Name the part that a change belongs to, None if it shows in no image."""
    match change.kind:
        case Kind.PACKAGE:
            return change.name
        case Kind.BASE | Kind.DEB:
            return BASE
        case Kind.PYTHON:
            return PYTHON
        case Kind.PIN:
            return None
    return None if change.name in _FROM_BAD else _PARTS.get(change.name, SETTINGS)


def _spec(good: Lock, bad: Lock, parts: Collection[str]) -> Spec:
    """Make the spec of a mixture: each of its keys from the end that its part comes from."""
    old, new = to_builtins(good.spec), to_builtins(bad.spec)
    plain = {}
    for key in old.keys() | new.keys():
        from_bad = key in _FROM_BAD or _PARTS.get(key, SETTINGS) in parts
        source = new if from_bad else old
        if key in source:
            plain[key] = source[key]
    plain["packages"] = {
        key: pin
        for pins, wanted in ((old["packages"], False), (new["packages"], True))
        for key, pin in pins.items()
        if (_name(key) in parts) is wanted
    }
    return from_builtins(plain)


def _name(key: str) -> str:
    return canonicalize_name(Requirement(key).name)


def _first(
    part: str,
    before: Mapping[str, Wheel | Source],
    after: Mapping[str, Wheel | Source],
    good_needs: Needs,
    bad_needs: Needs,
) -> set[str]:
    """Name the packages that must have moved before ``part`` may."""
    first: set[str] = set()
    for requirement in bad_needs.get(part, ()):  # its new self may refuse another's old one
        other = canonicalize_name(requirement.name)
        if other != part and not _fits(requirement, before.get(other)):
            first.add(other)
    for user, requirements in good_needs.items():  # another's old self may refuse its new one
        for requirement in requirements:
            mine = canonicalize_name(requirement.name) == part
            if user != part and mine and not _fits(requirement, after.get(part)):
                first.add(user)
    return first


def _fits(requirement: Requirement, artifact: Wheel | Source | None) -> bool:
    return artifact is not None and requirement.specifier.contains(
        artifact.version, prereleases=True
    )


def _is_bound(artifact: Wheel | Source | None) -> bool:
    """Return whether an artifact works with one Python version only."""
    if isinstance(artifact, GitSource | ArchiveSource):
        artifact = artifact.wheel
    if artifact is None:
        return False
    tags = parse_wheel_filename(artifact.filename)[3]
    return not any(tag.interpreter.startswith("py3") or tag.abi == "abi3" for tag in tags)


def _atoms(ties: Mapping[str, set[str]], asked: Collection[str]) -> tuple[Atom, ...]:
    """Join what is tied in circles; put what others need in front, and then what was asked for."""
    groups = [frozenset({part}) for part in sorted(ties)]
    while True:
        home = {part: group for group in groups for part in group}
        graph = {
            group: {home[other] for part in group for other in ties[part]} - {group}
            for group in groups
        }
        try:
            ordered = _ordered(graph, asked)
        except CycleError as error:
            circle: Sequence[frozenset[str]] = error.args[1]
            joined = frozenset().union(*circle)
            groups = [group for group in groups if group not in circle] + [joined]
            continue
        position = {group: number for number, group in enumerate(ordered)}
        return tuple(
            Atom(
                parts=tuple(sorted(group)),
                after=frozenset(position[other] for other in graph[group]),
                asked=not group.isdisjoint(asked),
            )
            for group in ordered
        )


def _ordered(
    graph: Mapping[frozenset[str], set[frozenset[str]]], asked: Collection[str]
) -> list[frozenset[str]]:
    """Order groups so that each stands behind those it needs; raise CycleError for a circle.

    The same graph gives the same order in every process: a resumed bisection asks the same again.
    """
    TopologicalSorter(graph).prepare()
    ordered: dict[frozenset[str], None] = {}

    def take(group: frozenset[str]) -> None:
        if group not in ordered:
            for other in sorted(graph[group], key=sorted):
                take(other)
            ordered[group] = None

    for group in sorted(graph, key=lambda group: (group.isdisjoint(asked), sorted(group))):
        take(group)
    return [*ordered]
