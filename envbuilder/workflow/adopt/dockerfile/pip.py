"""``pip install``, ``uv pip install`` and their kin: packages, files of them, projects, clones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from envbuilder.workflow.adopt.places import git_package, is_place, project_folder, split_marker
from envbuilder.workflow.adopt.project_uv import strategy_statement
from envbuilder.workflow.adopt.pyproject import Choice, read_groups, read_pyproject
from envbuilder.workflow.adopt.requirements import (
    included,
    index_statement,
    option_statement,
    requirement_statement,
)
from envbuilder.workflow.adopt.statements import (
    At,
    Role,
    Statement,
    Wanted,
    joined,
    left,
    taken,
)

from .arguments import Call, is_harmless, read_arguments
from .stage import Stage

_INSTALLERS = {"pip", "uv", "wheel", "setuptools", "poetry", "virtualenv", "hatchling", "build"}
_PROJECT = "pyproject.toml"
_ROLES: dict[str, Role] = {
    "-r": "packages", "--requirement": "packages", "--requirements": "packages",
    "-c": "constraints", "--constraint": "constraints", "--constraints": "constraints",
    "--overrides": "overrides", "--override": "overrides",
}  # fmt: skip
_OF_INSTALL = {
    *_ROLES, "-e", "--editable", "-i", "--index-url", "--default-index", "--extra-index-url",
    "--index", "--index-strategy", "--extra", "--all-extras",
}  # fmt: skip
_ELSEWHERE = {"-t", "--target", "--prefix", "--root"}
_IDLE = {"cache", "check", "list", "freeze", "show", "debug", "--version", "-V", "help", ""}


def read_pip(stage: Stage, at: At, words: list[str], own: Mapping[str, str]) -> Iterator[Statement]:
    """Read a command of pip."""
    yield from _command(stage, at, words, own, uv=False)


def read_uv_pip(
    stage: Stage, at: At, words: list[str], own: Mapping[str, str]
) -> Iterator[Statement]:
    """Read ``uv pip``, which also reads what [tool.uv] says of a project."""
    yield from _command(stage, at, words, own, uv=True)


def _command(
    stage: Stage, at: At, words: list[str], own: Mapping[str, str], *, uv: bool
) -> Iterator[Statement]:
    call = read_arguments(words[1:])
    verb = call.plain.pop(0) if call.plain else ""
    if verb == "install":
        groups = list(_groups(stage, at, call, sources=uv))
        yield from install(stage, at, call, own, groups)
    elif verb == "config":
        yield _config(stage, at, call.plain)
    elif verb == "uninstall":
        yield left(at, "nothing is taken away: leave the package out, or override its version")
    elif verb in _IDLE:
        yield taken(at)
    else:
        yield left(at, f"pip {verb} installs nothing")


def _groups(stage: Stage, at: At, call: Call, *, sources: bool) -> Iterator[Statement]:
    """Read ``--group [PATH:]NAME``."""
    for value in call.options.pop("--group", []):
        place, _, name = value.rpartition(":")
        path = stage.in_context(place or _PROJECT)
        if path is None:
            yield left(at, f"{place or _PROJECT} is not in the build context")
        else:
            yield from read_groups(path, [name], sources=sources)


def install(
    stage: Stage, at: At, call: Call, own: Mapping[str, str], groups: Sequence[Statement] = ()
) -> Iterator[Statement]:
    """Read what one command installs: one statement of it all, then those of files it names.

    ``groups`` are what its groups say, which are read by whoever knows the tool.
    """
    if any(name in call.options for name in _ELSEWHERE):
        yield left(at, "it installs outside of the environment")
        return
    index = call.last("--index-url", "-i", "--default-index")
    parts = [*_indexes(at, call), *_named(stage, at, call, own, index)]
    parts += [option_statement(at, *each, stage.context) for each in call.others(_OF_INSTALL)]
    parts += [_place(stage, at, path, own) for path in call.all("-e", "--editable")]
    files = [*_files(stage, at, call, index), *(_from_index(each, index) for each in groups)]
    yield joined(at, [*parts, *(each for each in files if each.at == at)])
    yield from (each for each in files if each.at != at)


def _indexes(at: At, call: Call) -> Iterator[Statement]:
    for url in call.all("--extra-index-url", "--index"):
        plain = re.sub(r"^[\w-]+=(?=https?://)", "", url)  # uv's NAME=URL
        yield index_statement(at, "--extra-index-url", plain)
    for name in call.all("--index-strategy"):
        yield strategy_statement(at, name)


def _named(
    stage: Stage, at: At, call: Call, own: Mapping[str, str], index: str | None
) -> Iterator[Statement]:
    for text in call.plain:
        if text.partition("[")[0] in _INSTALLERS:  # in no version, so for the sake of installing
            yield taken(at)
        elif _is_local(text):
            yield _place(stage, at, text, own)
        else:
            yield _with_build(
                requirement_statement(at, text, folder=stage.context, index=index), own
            )


def _is_local(text: str) -> bool:
    return is_place(text) and "://" not in text


def _place(stage: Stage, at: At, text: str, own: Mapping[str, str]) -> Statement:
    """Read a path that is installed: of a clone, of the build context, or made there."""
    if "://" in text:
        return _with_build(requirement_statement(at, text, folder=stage.context), own)
    text, marker = split_marker(text)
    path, bracket, extras = text.partition("[")
    cloned = stage.clone_at(path)
    if cloned is not None:
        clone, where = cloned
        clone.used = True
        name = clone.url.rstrip("/").removesuffix(".git").rpartition("/")[2]
        found = git_package(
            at, clone.url, clone.ref, key=f"{name}{bracket}{extras}", subdirectory=where,
            marker=marker, note=f"named {name} after its repository: check",
        )  # fmt: skip
        return _with_build(found, own, submodules=clone.submodules)
    origin = stage.in_context(path)
    if origin is None:
        return left(at, f"{path} is made by the build itself: name a wheel of it")
    if origin.is_file():
        place = f"{origin} ; {marker}" if marker else str(origin)
        return requirement_statement(at, place, folder=stage.context)
    found = project_folder(at, origin, extras=f"{bracket}{extras}", marker=marker)
    return _with_build(found, own)


def _with_build(found: Statement, own: Mapping[str, str], *, submodules: bool = False) -> Statement:
    """Add a command's own variables to what is built."""
    facts = []
    for fact in found.facts:
        if isinstance(fact, Wanted) and _is_built(fact.source):
            more: dict[str, Any] = {"submodules": True} if submodules else {}
            more |= {"build": {"env": dict(own)}} if own else {}
            fact = replace(fact, source={**fact.source, **more})  # noqa: PLW2901
        facts.append(fact)
    return replace(found, facts=tuple(facts))


def _is_built(source: Mapping[str, Any]) -> bool:
    place = str(source.get("url") or source.get("path") or "")
    return bool(source) and not place.endswith(".whl")


def _files(stage: Stage, at: At, call: Call, index: str | None) -> Iterator[Statement]:
    for option, role in _ROLES.items():
        for name in call.all(option):
            path = stage.in_context(name)
            if path is None or not path.is_file():
                yield left(at, f"{name} is not in the build context")
                continue
            for each in _file(at, path, role, call):
                yield _from_index(each, index)


def _file(at: At, path: Path, role: Role, call: Call) -> Iterator[Statement]:
    """Read a file of requirements, or what a project requires, which uv takes as such a file."""
    if path.name == _PROJECT and role == "packages":
        extras = frozenset(canonicalize_name(each) for each in call.all("--extra"))
        choice = Choice(
            extras=extras, all_extras="--all-extras" in call.options, default_groups=False,
            project="dependencies",
        )  # fmt: skip
        yield taken(at)
        yield from read_pyproject(path, choice=choice)
    else:
        yield from included(at, path, role)


def _from_index(each: Statement, index: str | None) -> Statement:
    if index is None:
        return each
    facts = [
        replace(fact, index=index) if isinstance(fact, Wanted) and not fact.source else fact
        for fact in each.facts
    ]
    return replace(each, facts=tuple(facts))


def _config(stage: Stage, at: At, words: list[str]) -> Statement:
    if words[:1] == ["set"] and len(words) == 3:
        option = f"--{words[1].rpartition('.')[2]}"
        if option.endswith("index-url"):
            return index_statement(at, option, words[2])
        if not is_harmless(option):
            return option_statement(at, option, words[2], stage.context)
    return taken(at, note="how pip is set up is no matter")
