"""[tool.uv.sources] of a pyproject.toml: where uv takes a dependency from, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .installed import valid_marker
from .packages import may_hold
from .places import RefKind, from_place, git_package, is_commit
from .project_uv import Uv
from .requirements import requirement_statement
from .statements import At, Statement, Wanted, joined, left, taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Where a dependency stands: that of the project itself, of an extra, or of a group."""

    extra: str = ""
    group: str = ""


def dependency_statement(
    at: At, parsed: Requirement, uv: Uv, *, folder: Path, table: Table
) -> Statement:
    """Read a dependency of ``table``; where no source says its place, an index has it."""
    tables = [each for each in _tables(uv, parsed.name) if _counts(each, table)]
    parts = [_of_table(at, parsed, uv, each, folder) for each in tables]
    markers = tuple(str(each.get("marker", "")) for each in tables if isinstance(each, dict))
    if len(markers) == len(tables) and all(map(valid_marker, markers)):
        plain = requirement_statement(at, str(parsed), folder=folder)
        parts.append(_unless(plain, markers))
    return joined(at, parts)


def _tables(uv: Uv, name: str) -> list[Any]:
    wanted = canonicalize_name(name)
    for key, found in uv.sources.items():
        if canonicalize_name(key) == wanted:
            return found if isinstance(found, list) else [found]
    return []


def _counts(source: Any, table: Table) -> bool:  # noqa: ANN401 - whatever the file has there
    """Return whether a source is one for ``table``, and for any system that a spec may have."""
    if not isinstance(source, dict):
        return True
    marker = str(source.get("marker", ""))
    return (
        _is_named(source.get("extra"), table.extra)
        and _is_named(source.get("group"), table.group)
        and (not valid_marker(marker) or may_hold(marker))
    )


def _is_named(said: object, name: str) -> bool:
    return said is None or canonicalize_name(str(said)) == name


def _unless(found: Statement, markers: tuple[str, ...]) -> Statement:
    facts = (
        replace(fact, unless=markers) if isinstance(fact, Wanted) else fact for fact in found.facts
    )
    return replace(found, facts=tuple(facts))


def _of_table(at: At, parsed: Requirement, uv: Uv, source: Any, folder: Path) -> Statement:  # noqa: ANN401
    if not isinstance(source, dict):
        return left(at, "its [tool.uv.sources] is not a table")
    said = {str(key): str(value) for key, value in source.items()}
    if "marker" in said and not valid_marker(said["marker"]):
        return left(at, f"{said['marker']!r} of its [tool.uv.sources] is not a marker")
    key = f"{parsed.name}[{','.join(sorted(parsed.extras))}]" if parsed.extras else parsed.name
    marker = " and ".join(f"({each})" for each in _markers(parsed, said))
    if "index" in said:
        url = next((each.url for each in uv.index if each.name == said["index"]), None)
        if url is None:
            return left(at, f"no index is named {said['index']!r}")
        wanted = f"{key}{parsed.specifier}" + (f" ; {marker}" if marker else "")
        return taken(at, Wanted(requirement=wanted, index=url))
    if "git" in said:
        kind, ref = _ref(said)
        where = said.get("subdirectory", "")
        return git_package(
            at, said["git"], ref, kind=kind, key=key, subdirectory=where, marker=marker
        )
    place = said.get("url") or said.get("path")
    if place is not None:
        return from_place(at, f"{place} ; {marker}" if marker else place, folder=folder, key=key)
    return left(at, "a member of a workspace is a folder: name its wheel with `path:`")


def _ref(said: Mapping[str, str]) -> tuple[RefKind | None, str]:
    """Return what a source of git pins; ``rev`` is a commit, or whatever else git takes there."""
    if said.get("tag"):
        return "tag", said["tag"]
    if said.get("branch"):
        return "branch", said["branch"]
    rev = said.get("rev", "")
    return ("commit" if is_commit(rev) else None), rev


def _markers(parsed: Requirement, said: Mapping[str, str]) -> Iterator[str]:
    if parsed.marker is not None:
        yield str(parsed.marker)
    if "marker" in said:
        yield said["marker"]
