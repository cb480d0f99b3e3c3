"""A project's pyproject.toml: what it requires, with the extras and groups that are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.codec import MisfitError, from_plain
from envbuilder.model.errors import UsageError

from .locks import read_uv_lock
from .places import project_folder
from .project_groups import Groups, groups_of, read_group
from .project_sources import Table, dependency_statement
from .project_uv import Uv, uv_statements
from .requirements import requirement_statement
from .statements import At, Setting, Statement, left, taken
from .texts import read_toml


class _Project(Struct, frozen=True, kw_only=True, rename="kebab"):
    name: str
    requires_python: str | None = None
    dependencies: tuple[str, ...] = ()
    optional_dependencies: dict[str, tuple[str, ...]] = {}
    dynamic: tuple[str, ...] = ()


class _Tool(Struct, frozen=True, kw_only=True):
    uv: Uv = Uv()
    poetry: dict[str, Any] = {}


class _Pyproject(Struct, frozen=True, kw_only=True, rename="kebab"):
    project: _Project | None = None
    build_system: dict[str, Any] | None = None
    dependency_groups: dict[str, Any] = {}
    tool: _Tool = _Tool()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of a project is asked for; names are normalised.

    ``project``: with the project as a package, with what it requires alone, or with neither.
    ``groups`` count beside those that are installed by default, unless ``default_groups`` is false.
    """

    extras: frozenset[str] = frozenset()
    all_extras: bool = False
    groups: frozenset[str] = frozenset()
    all_groups: bool = False
    default_groups: bool = True
    without: frozenset[str] = frozenset()
    project: Literal["package", "dependencies", "nothing"] = "package"


EVERYTHING_USUAL = Choice()
"""The project as a package, without extras, and with its own default groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """A file, and what is read of it: ``extras`` and ``groups`` are all that it has."""

    path: Path
    choice: Choice
    uv: Uv
    project: _Project
    groups: Groups
    extras: Mapping[str, tuple[str, ...]]
    chosen_extras: frozenset[str]
    chosen_groups: frozenset[str]

    def at(self, text: str) -> At:
        return At(place=self.path.name, text=text)


def read_pyproject(
    path: Path, *, pin: bool = False, choice: Choice = EVERYTHING_USUAL
) -> Iterator[Statement]:
    """Read what a project requires, by ``choice``; with ``pin`` at the versions of its uv.lock.

    Raises UsageError if the file cannot be read, has no table [project], or lacks an extra.
    """
    table = read_toml(path)
    found = _typed(path, table)
    if found.project is None:
        hint = "Poetry 2 writes it" if found.tool.poetry else "name a requirements file instead"
        raise UsageError(f"{path} has no table [project]", hint=hint)
    reader = _reader(path, found, found.project, found.tool.uv, choice)
    if choice.project == "nothing":
        yield taken(reader.at("dependencies"), note="the command installs groups alone")
    else:
        yield from _project(reader)
        yield _itself(reader, built=found.build_system is not None)
    yield from _groups(reader)
    yield from uv_statements(path, found.tool.uv, table.get("tool", {}).get("uv", {}))
    lock = path.with_name("uv.lock")
    if pin and lock.is_file():
        yield from read_uv_lock(lock)


def read_groups(path: Path, names: Iterable[str], *, sources: bool) -> Iterator[Statement]:
    """Read groups alone, as ``pip install --group`` does; ``sources``: with [tool.uv.sources].

    Raises UsageError if the file cannot be read; it needs no [project].
    """
    found = _typed(path, read_toml(path))
    uv = found.tool.uv if sources else Uv()
    reader = _reader(path, found, _Project(name=""), uv, EVERYTHING_USUAL)
    for name in names:
        yield from _group(reader, canonicalize_name(name))


def _typed(path: Path, table: dict[str, Any]) -> _Pyproject:
    try:
        return from_plain(table, _Pyproject)
    except MisfitError as error:
        raise UsageError(f"{path} is not what PEP 621 says: {error}") from error


def _reader(path: Path, found: _Pyproject, project: _Project, uv: Uv, choice: Choice) -> _Reader:
    extras: dict[str, tuple[str, ...]] = {
        canonicalize_name(key): each for key, each in project.optional_dependencies.items()
    }
    groups = groups_of(found.dependency_groups, uv.dev_dependencies)
    chosen = _chosen_groups(groups, uv, choice)
    lines = [line for name in chosen & groups.keys() for line in read_group(groups, name).lines]
    wanted = set(extras if choice.all_extras else choice.extras)
    wanted |= {extra for line in lines for extra in _own_extras(project, line)}
    return _Reader(
        path=path,
        choice=choice,
        uv=uv,
        project=project,
        groups=groups,
        extras=extras,
        chosen_extras=_reached(project, extras, wanted),
        chosen_groups=chosen,
    )


def _chosen_groups(groups: Groups, uv: Uv, choice: Choice) -> frozenset[str]:
    """Name the groups that are read: uv's own default, dev, is no part of a deployment."""
    named = uv.default_groups or ()
    usual = groups.keys() if named == "all" else {canonicalize_name(each) for each in named}
    chosen = choice.groups | (groups.keys() if choice.all_groups else frozenset())
    return frozenset(chosen | (usual if choice.default_groups else frozenset())) - choice.without


def _reached(
    project: _Project, known: Mapping[str, tuple[str, ...]], extras: Iterable[str]
) -> frozenset[str]:
    """Return ``extras`` with those that they name of the same project; raise UsageError."""
    reached: set[str] = set()
    waiting = sorted(extras)
    while waiting:
        extra = waiting.pop()
        if extra not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(f"{project.name} has no extra {extra!r}", hint=f"it has: {listed}")
        reached.add(extra)
        for line in known[extra]:
            waiting += [each for each in _own_extras(project, line) if each not in reached]
    return frozenset(reached)


def _own_extras(project: _Project, line: str) -> frozenset[str]:
    try:
        parsed = Requirement(line)
    except InvalidRequirement:
        return frozenset()
    own = _same(parsed.name, project.name)
    return frozenset(map(canonicalize_name, parsed.extras)) if own else frozenset()


def _project(reader: _Reader) -> Iterator[Statement]:
    project = reader.project
    if project.requires_python is not None:
        at = reader.at(f"requires-python = {project.requires_python!r}")
        yield taken(at, Setting(path=("python",), value=project.requires_python))
    for line in project.dependencies:
        yield _dependency(reader, line, Table())
    if "dependencies" in project.dynamic:
        yield left(reader.at("dynamic = [dependencies]"), "its build says what it requires")
    for extra, lines in reader.extras.items():
        at = reader.at(f"optional-dependencies.{extra}")
        if extra in reader.chosen_extras:
            yield taken(at)
            for line in lines:
                yield _dependency(reader, line, Table(extra=extra))
        else:
            yield left(at, f"an extra that nobody asked for: --from '{reader.path}[{extra}]'")


def _groups(reader: _Reader) -> Iterator[Statement]:
    chosen = reader.chosen_groups & reader.groups.keys()
    included = {each for name in chosen for each in read_group(reader.groups, name).includes}
    for name in reader.groups:
        at = reader.at(f"dependency-groups.{name}")
        if name in chosen:
            yield from _group(reader, name)
        elif name in included:
            yield taken(at, note="others include it")
        elif name in reader.choice.without:
            yield taken(at, note="the command leaves it out")
        else:
            yield left(at, "a group that nobody asked for: `default-groups` of [tool.uv] does")
    for name in sorted(reader.choice.groups - reader.groups.keys()):
        yield from _group(reader, name)


def _group(reader: _Reader, name: str) -> Iterator[Statement]:
    at = reader.at(f"dependency-groups.{name}")
    if name not in reader.groups:
        yield left(at, "no group has this name")
        return
    found = read_group(reader.groups, name)
    yield left(at, "; ".join(found.wrong)) if found.wrong else taken(at)
    for line in found.lines:
        yield _dependency(reader, line, Table(group=name))


def _itself(reader: _Reader, *, built: bool) -> Statement:
    """Read the project as a package, as uv does: if it says how it is built."""
    at = reader.at(f"name = {reader.project.name!r}")
    if reader.choice.project == "dependencies":
        return taken(at, note="the command installs what it requires alone")
    if reader.uv.package is False or (not built and not reader.uv.package):
        return taken(at, note="without [build-system] it is no package itself")
    extras = f"[{','.join(sorted(reader.chosen_extras))}]" if reader.chosen_extras else ""
    return project_folder(at, reader.path.parent.resolve(), extras=extras)


def _dependency(reader: _Reader, line: str, table: Table) -> Statement:
    at = reader.at(line)
    try:
        parsed = Requirement(line)
    except InvalidRequirement:
        return requirement_statement(at, line, folder=reader.path.parent)
    if _same(parsed.name, reader.project.name):
        return taken(at)  # its extras are read by themselves
    return dependency_statement(at, parsed, reader.uv, folder=reader.path.parent, table=table)


def _same(one: str, other: str) -> bool:
    return canonicalize_name(one) == canonicalize_name(other)
