"""Locks of other tools: a pylock.toml (PEP 751), and uv.lock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import Struct

from envbuilder.model.codec import MisfitError, from_plain
from envbuilder.model.errors import UsageError, without_login

from .installed import (
    Held,
    built_from_sdist,
    held_statements,
    of_statement,
    usual_index,
    valid_marker,
)
from .places import from_file, git_package, project_folder
from .statements import At, Setting, Statement, Wanted, taken
from .texts import BY_TOOL, read_toml


class _Vcs(Struct, frozen=True, kw_only=True, rename="kebab"):
    type: str = "git"
    url: str | None = None
    commit_id: str = ""
    subdirectory: str = ""


class _File(Struct, frozen=True, kw_only=True):
    url: str | None = None
    path: str | None = None
    name: str | None = None


class _Named(Struct, frozen=True, kw_only=True):
    name: str
    version: str | None = None


class _Package(Struct, frozen=True, kw_only=True):
    """A package of a pylock.toml, as far as a spec can say it."""

    name: str
    version: str | None = None
    marker: str = ""
    index: str | None = None
    dependencies: tuple[_Named, ...] = ()
    vcs: _Vcs | None = None
    directory: dict[str, Any] | None = None
    archive: _File | None = None
    sdist: dict[str, Any] | None = None
    wheels: tuple[_File, ...] = ()


class _Pylock(Struct, frozen=True, kw_only=True, rename="kebab"):
    lock_version: str
    packages: tuple[_Package, ...]
    requires_python: str | None = None


class _UvSource(Struct, frozen=True, kw_only=True):
    registry: str | None = None
    git: str | None = None
    url: str | None = None
    path: str | None = None
    directory: str | None = None
    editable: str | None = None
    virtual: str | None = None
    subdirectory: str = ""


class _UvPackage(Struct, frozen=True, kw_only=True, rename="kebab"):
    name: str
    source: _UvSource
    version: str | None = None
    resolution_markers: tuple[str, ...] = ()
    wheels: tuple[dict[str, Any], ...] = ()
    sdist: dict[str, Any] | None = None


class _UvLock(Struct, frozen=True, kw_only=True, rename="kebab"):
    version: int
    package: tuple[_UvPackage, ...] = ()
    requires_python: str | None = None


def read_pylock(path: Path, *, pin: bool) -> Iterator[Statement]:
    """Read a lock of any tool that writes PEP 751; raise UsageError if it is none."""
    lock = _typed(path, _Pylock)
    if lock.requires_python is not None:
        at = At(place=path.name, text=f"requires-python = {lock.requires_python}")
        yield taken(at, Setting(path=("python",), value=lock.requires_python))
    usual = usual_index(each.index for each in lock.packages)
    found = [_of_pylock(path, each, usual) for each in lock.packages]
    yield from held_statements(found, pin=pin)


def read_uv_lock(path: Path) -> Iterator[Statement]:
    """Read the versions that a uv.lock holds, as constraints: its project says what is wanted."""
    lock = _typed(path, _UvLock)
    for each in lock.package:
        at = At(place=path.name, text=f"{each.name} {each.version or ''}")
        if each.source.registry is None or each.version is None:
            yield taken(at)  # the project itself, or what its pyproject.toml says by address
            continue
        markers = " or ".join(f"({marker})" for marker in each.resolution_markers)
        condition = f" ; {markers}" if markers and valid_marker(markers) else ""
        wanted = f"{each.name}=={each.version}{condition}"
        facts: list[Setting | Wanted] = [Wanted(requirement=wanted, role="constraints")]
        if each.sdist is not None and not each.wheels:
            facts.append(built_from_sdist(each.name))
        yield taken(at, *facts)


def _typed(path: Path, kind: Any) -> Any:  # noqa: ANN401 - one of the two kinds of lock
    try:
        return from_plain(read_toml(path, limit=BY_TOOL), kind)
    except MisfitError as error:
        raise UsageError(f"{path} is not a lock that is read here: {error}") from error


def _of_pylock(path: Path, each: _Package, usual: str | None) -> Held:
    at = At(place=path.name, text=f"{each.name} {each.version or ''}")
    held = Held(
        at=at,
        name=each.name,
        version=each.version or "",
        requires=tuple(needed.name for needed in each.dependencies),
        marker=each.marker,
        index=None if each.index == usual else each.index,
    )
    return _with_source(path, held, each)


def _with_source(path: Path, held: Held, each: _Package) -> Held:
    if each.vcs is not None:
        return _of_git(held, each.vcs)
    if each.directory is not None:
        folder = (path.parent / str(each.directory.get("path", "."))).resolve()
        return of_statement(held, project_folder(held.at, folder, key=held.name))
    if each.archive is not None:
        return _of_archive(path, held, each.archive)
    if each.version is None:
        return replace(held, left="the lock does not say its version")
    if each.sdist is not None and not each.wheels:
        return replace(held, sdist=True)
    return held


def _of_git(held: Held, vcs: _Vcs) -> Held:
    if vcs.type != "git" or vcs.url is None:
        return replace(held, left="only git repositories with an address are built from")
    found = git_package(
        held.at, vcs.url, vcs.commit_id, kind="commit", key=held.name, subdirectory=vcs.subdirectory
    )
    return of_statement(held, found)


def _of_archive(path: Path, held: Held, archive: _File) -> Held:
    place = archive.url or archive.path or ""
    if without_login(place) != place:
        return replace(held, left="the address holds a login: netrc keeps it")
    table = {"url": place} if archive.url else {"path": str((path.parent / place).resolve())}
    filename = place.rpartition("/")[2]
    return of_statement(held, from_file(held.at, filename, table, key=held.name, marker=""))
