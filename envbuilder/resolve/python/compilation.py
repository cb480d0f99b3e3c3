"""One run of uv's resolver: requirement lines and what bounds them in, PEP 751 packages out."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.package_spec import ChosenIndex, Index
from envbuilder.model.toml_text import parse_toml
from envbuilder.storage.temporary import work_folder

from .indexes import choice_flags, exempted, index_flags, uv_environment, visible_until
from .metadata_wheel import StandIn, write_stand_in
from .uv import run_uv

if TYPE_CHECKING:
    from .requirements import PythonTarget

_YANKED = re.compile(r"warning: `(?P<pin>[^`]+)` is yanked(?: \(reason: \"(?P<reason>.*)\"\))?")
_OFFERED = "offered-here"
_LINKS = "UV_FIND_LINKS"
_LISTS = ("excludes", "constraints", "overrides")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What uv is asked: ``requirements`` (PEP 508 lines) for ``target``, out of ``index``.

    ``held`` are versions that stay unless something forces others; ``excludes`` are names left out
    as if nobody needed them; ``constraints`` and ``overrides`` are PEP 508 lines, too. ``offered``
    are versions beside those that indexes have a wheel of.
    """

    requirements: tuple[str, ...]
    target: PythonTarget
    index: Index
    held: Mapping[str, str] = field(default_factory=dict)
    excludes: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    offered: tuple[StandIn, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """uv's answer: the ``packages`` of a pylock.toml, and who of them was ``yanked`` and why."""

    packages: list[dict[str, Any]]
    yanked: Mapping[str, str]


def compile_packages(problem: Problem) -> Found:
    """Let uv solve ``problem``. Raises ResolutionError and NetworkError as ``run_uv`` does."""
    with work_folder("envbuilder-resolve") as folder:
        links = folder / _OFFERED
        links.mkdir()
        for each in problem.offered:
            write_stand_in(each, links)
        arguments = ["pip", "compile", _wanted(problem, folder), "--output-file", "pylock.toml"]
        arguments += ["--format", "pylock.toml", "--no-header", "--no-build", *problem.flags]
        environment = uv_environment(problem.index)
        if problem.offered:
            others = environment.get(_LINKS)
            environment[_LINKS] = f"{links},{others}" if others else str(links)
        arguments += [*_target_flags(problem.target), *index_flags(problem.index, environment)]
        arguments += [*choice_flags(problem.index), *_dates(problem.index)]
        arguments += _lists(problem, folder)
        # uv keeps the versions that it finds in its output file, if nothing forces others.
        lock = folder / "pylock.toml"
        lock.write_text(_preferences(problem.held), encoding="utf-8")
        said = run_uv(arguments, environment=environment, cwd=folder)
        found = parse_toml(lock.read_text(encoding="utf-8"))
    yanked = {each["pin"]: each["reason"] or "" for each in _YANKED.finditer(said.warnings)}
    return Found(packages=found.get("packages", []), yanked=yanked)


def _wanted(problem: Problem, folder: Path) -> str:
    """Write what is wanted; only a project can say which index a package comes from."""
    chosen = problem.index.chosen if isinstance(problem.index, ChosenIndex) else {}
    names = {canonicalize_name(Requirement(line).name) for line in problem.requirements}
    sources = {name: {"index": index} for name, index in chosen.items() if name in names}
    if not sources:
        _write_lines(folder / "requirements.in", problem.requirements)
        return "requirements.in"
    named = {name: problem.index.named[name] for name in sorted(set(chosen.values()))}
    indexes: list[dict[str, object]] = [
        {"name": name, "url": url, "explicit": True} for name, url in named.items()
    ]
    if apart := {each.name for each in problem.offered} & sources.keys():
        # Of one index alone uv takes no links: what stands in for its sdists is an index, then.
        sources |= {name: {"index": _OFFERED} for name in apart}
        place = (folder / _OFFERED).as_uri()
        indexes.append({"name": _OFFERED, "url": place, "format": "flat", "explicit": True})
    project = {"name": "spec", "version": "0", "dependencies": list(problem.requirements)}
    document = {"project": project, "tool": {"uv": {"sources": sources, "index": indexes}}}
    (folder / "pyproject.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    return "pyproject.toml"


def _target_flags(target: PythonTarget) -> list[str]:
    # Nothing is built, so no interpreter is needed either: uv would fetch one, or search PATH for
    # half a second.
    flags = ["--no-python-downloads", "--python", sys.executable]
    return [*flags, "--python-version", target.full, "--python-platform", target.uv_platform]


def _lists(problem: Problem, folder: Path) -> Iterator[str]:
    for name in _LISTS:
        if lines := getattr(problem, name):
            _write_lines(folder / name, lines)
            yield from (f"--{name}", name)


def _dates(index: Index) -> Iterator[str]:
    if (until := visible_until(index)) is not None:
        yield from ("--exclude-newer", until.isoformat())
        for name in exempted(index):
            yield from ("--exclude-newer-package", f"{name}=false")


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _preferences(held: Mapping[str, str]) -> str:
    packages = [{"name": name, "version": version} for name, version in sorted(held.items())]
    return tomli_w.dumps({"lock-version": "1.0", "created-by": "uv", "packages": packages})
