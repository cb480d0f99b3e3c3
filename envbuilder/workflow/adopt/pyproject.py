"""A project's pyproject.toml: what it requires, and what [tool.uv] says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.codec import MisfitError, from_plain
from envbuilder.model.errors import UsageError

from .locks import read_uv_lock
from .places import from_place, git_package, project_folder
from .requirements import index_statement, requirement_statement
from .statements import At, Setting, Statement, Wanted, left, taken
from .texts import read_toml

_STRATEGIES = {"first-index": "first-index", "unsafe-best-match": "best-match"}


class _Project(Struct, frozen=True, kw_only=True, rename="kebab"):
    name: str
    requires_python: str | None = None
    dependencies: tuple[str, ...] = ()
    optional_dependencies: dict[str, tuple[str, ...]] = {}
    dynamic: tuple[str, ...] = ()


class _Index(Struct, frozen=True, kw_only=True):
    url: str
    name: str | None = None
    default: bool = False
    explicit: bool = False


class _Uv(Struct, frozen=True, kw_only=True, rename="kebab"):
    index: tuple[_Index, ...] = ()
    sources: dict[str, Any] = {}
    override_dependencies: tuple[str, ...] = ()
    constraint_dependencies: tuple[str, ...] = ()
    index_strategy: str | None = None
    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    exclude_newer: str | None = None


class _Tool(Struct, frozen=True, kw_only=True):
    uv: _Uv = _Uv()
    poetry: dict[str, Any] = {}


class _Pyproject(Struct, frozen=True, kw_only=True):
    project: _Project | None = None
    tool: _Tool = _Tool()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    path: Path
    extras: frozenset[str]
    uv: _Uv
    project: _Project

    def at(self, text: str) -> At:
        return At(place=self.path.name, text=text)


def read_pyproject(
    path: Path, *, pin: bool, extras: frozenset[str] = frozenset()
) -> Iterator[Statement]:
    """Read what a project requires, with ``extras``; with ``pin`` at the versions of its uv.lock.

    Raises UsageError if the file cannot be read, or has no table [project].
    """
    try:
        found = from_plain(read_toml(path), _Pyproject)
    except MisfitError as error:
        raise UsageError(f"{path} is not what PEP 621 says: {error}") from error
    if found.project is None:
        hint = "Poetry 2 writes it" if found.tool.poetry else "name a requirements file instead"
        raise UsageError(f"{path} has no table [project]", hint=hint)
    reader = _Reader(
        path=path, extras=_reached(found.project, extras), uv=found.tool.uv, project=found.project
    )
    yield from _project(reader)
    yield from _uv(reader)
    lock = path.with_name("uv.lock")
    if pin and lock.is_file():
        yield from read_uv_lock(lock)


def _reached(project: _Project, extras: frozenset[str]) -> frozenset[str]:
    """Return ``extras`` with those that they name of the same project; raise UsageError."""
    reached: set[str] = set()
    waiting = sorted(extras)
    while waiting:
        extra = waiting.pop()
        if extra not in project.optional_dependencies:
            known = ", ".join(project.optional_dependencies) or "none"
            raise UsageError(f"{project.name} has no extra {extra!r}", hint=f"it has: {known}")
        reached.add(extra)
        for line in project.optional_dependencies[extra]:
            waiting += [each for each in _own_extras(project, line) if each not in reached]
    return frozenset(reached)


def _own_extras(project: _Project, line: str) -> frozenset[str]:
    try:
        parsed = Requirement(line)
    except InvalidRequirement:
        return frozenset()
    return frozenset(parsed.extras) if _same(parsed.name, project.name) else frozenset()


def _project(reader: _Reader) -> Iterator[Statement]:
    project = reader.project
    if project.requires_python is not None:
        at = reader.at(f"requires-python = {project.requires_python!r}")
        yield taken(at, Setting(path=("python",), value=project.requires_python))
    for line in project.dependencies:
        yield from _dependency(reader, line)
    if "dependencies" in project.dynamic:
        yield left(reader.at("dynamic = [dependencies]"), "its build says what it requires")
    for extra, lines in project.optional_dependencies.items():
        at = reader.at(f"optional-dependencies.{extra}")
        if extra in reader.extras:
            yield taken(at)
            for line in lines:
                yield from _dependency(reader, line)
        else:
            yield left(at, f"an extra that nobody asked for: --from '{reader.path}[{extra}]'")
    yield project_folder(reader.at(f"name = {project.name!r}"), reader.path.parent.resolve())


def _dependency(reader: _Reader, line: str) -> Iterator[Statement]:
    at = reader.at(line)
    try:
        parsed = Requirement(line)
    except InvalidRequirement:
        parsed = None
    if parsed is not None and _same(parsed.name, reader.project.name):
        yield taken(at)  # its extras are read by themselves
        return
    source = _source_of(reader.uv, parsed.name) if parsed is not None else None
    if parsed is None or source is None:
        yield requirement_statement(at, line, folder=reader.path.parent)
    else:
        yield from _sourced(reader, at, parsed, source)


def _same(one: str, other: str) -> bool:
    return canonicalize_name(one) == canonicalize_name(other)


def _source_of(uv: _Uv, name: str) -> Any:  # noqa: ANN401 - a table, or several with markers
    return next((table for key, table in uv.sources.items() if _same(key, name)), None)


def _sourced(reader: _Reader, at: At, parsed: Requirement, source: Any) -> Iterator[Statement]:  # noqa: ANN401
    """Read a dependency that [tool.uv.sources] says the place of."""
    tables = source if isinstance(source, list) else [source]
    for table in tables:
        if not isinstance(table, dict):
            yield left(at, "its [tool.uv.sources] is not a table")
            continue
        yield _of_table(reader, at, parsed, {str(key): str(value) for key, value in table.items()})


def _of_table(reader: _Reader, at: At, parsed: Requirement, table: Mapping[str, str]) -> Statement:
    key = f"{parsed.name}[{','.join(sorted(parsed.extras))}]" if parsed.extras else parsed.name
    marker = table.get("marker") or (str(parsed.marker) if parsed.marker else "")
    if "index" in table:
        url = next((each.url for each in reader.uv.index if each.name == table["index"]), None)
        if url is None:
            return left(at, f"no index is named {table['index']!r}")
        wanted = f"{key}{parsed.specifier}" + (f" ; {marker}" if marker else "")
        return taken(at, Wanted(requirement=wanted, index=url))
    if "git" in table:
        ref = table.get("rev") or table.get("tag") or table.get("branch") or ""
        where = table.get("subdirectory", "")
        return git_package(at, table["git"], ref, key=key, subdirectory=where, marker=marker)
    place = table.get("url") or table.get("path")
    if place is not None:
        text = f"{place} ; {marker}" if marker else place
        return from_place(at, text, folder=reader.path.parent, key=key)
    return left(at, "a member of a workspace is a folder: name its wheel with `path:`")


def _uv(reader: _Reader) -> Iterator[Statement]:
    uv = reader.uv
    for index in uv.index:
        if not index.explicit:
            option = "--index-url" if index.default else "--extra-index-url"
            yield index_statement(reader.at(f"tool.uv.index {index.url}"), option, index.url)
    if uv.index_url is not None:
        yield index_statement(reader.at("tool.uv.index-url"), "--index-url", uv.index_url)
    for url in uv.extra_index_url:
        yield index_statement(reader.at(f"tool.uv.extra-index-url {url}"), "--extra-index-url", url)
    for line in uv.override_dependencies:
        at = reader.at(f"override {line}")
        yield requirement_statement(at, line, folder=reader.path.parent, role="overrides")
    for line in uv.constraint_dependencies:
        at = reader.at(f"constraint {line}")
        yield requirement_statement(at, line, folder=reader.path.parent, role="constraints")
    yield from _ways_of_uv(reader)


def _ways_of_uv(reader: _Reader) -> Iterator[Statement]:
    uv = reader.uv
    if uv.exclude_newer is not None:
        at = reader.at(f"tool.uv.exclude-newer = {uv.exclude_newer!r}")
        yield taken(at, Setting(path=("index", "exclude_newer"), value=uv.exclude_newer))
    if uv.index_strategy is not None:
        at = reader.at(f"tool.uv.index-strategy = {uv.index_strategy!r}")
        if uv.index_strategy in _STRATEGIES:
            value = _STRATEGIES[uv.index_strategy]
            yield taken(at, Setting(path=("index", "strategy"), value=value))
        else:
            yield left(at, "index.strategy knows best-match and first-index")
