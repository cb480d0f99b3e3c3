"""``pip install``, ``uv pip install`` and their kin: packages, files of them, projects, clones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from envbuilder.workflow.adopt.places import git_package, is_place, project_folder
from envbuilder.workflow.adopt.pyproject import read_pyproject
from envbuilder.workflow.adopt.requirements import (
    included,
    index_statement,
    option_statement,
    requirement_statement,
)
from envbuilder.workflow.adopt.statements import (
    At,
    Fact,
    Role,
    Setting,
    Statement,
    Wanted,
    left,
    taken,
)

from .stage import Stage

_WITH_VALUE = {
    "-r", "--requirement", "-c", "--constraint", "-e", "--editable", "-i", "--index-url",
    "--extra-index-url", "-f", "--find-links", "-t", "--target", "--prefix", "--root",
    "--python", "-p", "--index", "--default-index", "--overrides", "--override",
    "--index-strategy", "--no-binary", "--only-binary", "--trusted-host", "--timeout",
    "--retries", "--cache-dir", "--platform", "--python-version", "--upgrade-strategy",
    "--config-settings", "-C", "--global-option", "--progress-bar", "--exclude-newer",
    "--torch-backend", "--group", "--extra", "--log", "--prerelease", "--link-mode", "--src",
    "-P", "--upgrade-package", "--no-build-package",
}  # fmt: skip
_INSTALLERS = {"pip", "uv", "wheel", "setuptools", "poetry", "virtualenv", "hatchling", "build"}
_ELSEWHERE = {"-t", "--target", "--prefix", "--root"}
_IDLE = {"cache", "check", "list", "freeze", "show", "debug", "--version", "-V", "help", ""}


@dataclass(slots=True, kw_only=True)
class _Call:
    """The arguments of an install: plain words, and each option with its values."""

    plain: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)

    def all(self, *names: str) -> list[str]:
        return [value for name in names for value in self.options.get(name, [])]

    def last(self, *names: str) -> str | None:
        return next(iter(self.all(*names)[-1:]), None)


def read_pip(stage: Stage, at: At, words: list[str], own: Mapping[str, str]) -> Iterator[Statement]:
    """Read a command of pip."""
    call = _arguments(words[1:])
    verb = call.plain.pop(0) if call.plain else ""
    if verb == "install":
        yield from _install(stage, at, call, own)
    elif verb == "config":
        yield _config(at, call.plain)
    elif verb == "uninstall":
        yield left(at, "nothing is taken away: leave the package out, or override its version")
    elif verb in _IDLE:
        yield taken(at)
    else:
        yield left(at, f"pip {verb} installs nothing")


def read_uv(stage: Stage, at: At, words: list[str], own: Mapping[str, str]) -> Iterator[Statement]:
    """Read a command of uv."""
    rest = [word for word in words[1:] if word not in {"-q", "--quiet", "-v", "--verbose"}]
    if rest[:1] == ["pip"]:
        yield from read_pip(stage, at, rest, own)
        return
    call = _arguments(rest)
    verb = call.plain.pop(0) if call.plain else ""
    if verb == "sync":
        yield from _sync(stage, at, call)
    elif verb in {"venv", "python"}:
        stage.environments |= {stage.inside(each) for each in call.plain if verb == "venv"}
        yield _python(at, call)
    elif verb in {"cache", "lock", "self", "--version", ""}:
        yield taken(at)
    elif verb == "add":
        yield from _install(stage, at, call, own)
    else:
        yield left(at, f"uv {verb} has no key in a spec")


def read_conda(
    _stage: Stage, at: At, words: list[str], _own: Mapping[str, str]
) -> Iterator[Statement]:
    """Read a command of conda: it may say which Python; its packages are not wheels."""
    call = _arguments(words[1:])
    if call.plain[:1] and call.plain[0] in {"clean", "init", "config", "activate", "update"}:
        yield taken(at, note="conda is not needed")
        return
    pythons = [match[1] for each in call.plain if (match := re.match(r"python=+(3\.\d+)", each))]
    facts = tuple(Setting(path=("python",), value=each) for each in pythons[:1])
    others = [each for each in call.plain[1:] if not each.startswith("python=")]
    why = "packages of conda are no wheels: name those of a package index" if others else ""
    yield Statement(at=at, facts=facts, left=why)


def _arguments(words: list[str]) -> _Call:
    call, at = _Call(), 0
    while at < len(words):
        word = words[at]
        name, equals, value = word.partition("=")
        if word in _WITH_VALUE and at + 1 < len(words):
            call.options.setdefault(word, []).append(words[at + 1])
            at += 1
        elif equals and name.startswith("--"):
            call.options.setdefault(name, []).append(value)
        elif re.match(r"-[rcefi]\S", word):
            call.options.setdefault(word[:2], []).append(word[2:])
        elif word.startswith("-") and len(word) > 1:
            call.options.setdefault(word, []).append("")
        else:
            call.plain.append(word)
        at += 1
    return call


def _install(stage: Stage, at: At, call: _Call, own: Mapping[str, str]) -> Iterator[Statement]:
    """Read what one command installs: one statement of it all, then those of files it names."""
    if any(name in call.options for name in _ELSEWHERE):
        yield left(at, "it installs outside of the environment")
        return
    index = call.last("--index-url", "-i", "--default-index")
    parts = [*_indexes(stage, at, call), *_named(stage, at, call, own, index)]
    files = list(_files(stage, at, call, index))
    parts += [_place(stage, at, path, own) for path in call.all("-e", "--editable")]
    inner = [each for each in files if each.at != at]
    yield _one(at, [*parts, *(each for each in files if each.at == at)])
    yield from inner


def _one(at: At, parts: list[Statement]) -> Statement:
    """Join what one command says into one statement."""
    facts: tuple[Fact, ...] = tuple(fact for each in parts for fact in each.facts)
    why = "; ".join(dict.fromkeys(each.left for each in parts if each.left))
    note = "; ".join(dict.fromkeys(each.note for each in parts if each.note))
    return Statement(at=at, facts=facts, left=why, note=note)


def _indexes(stage: Stage, at: At, call: _Call) -> Iterator[Statement]:
    for option in ("--extra-index-url", "--index"):
        for url in call.all(option):
            yield index_statement(at, "--extra-index-url", url)
    for url in call.all("-f", "--find-links"):
        yield option_statement(at, "--find-links", url, stage.context)
    if call.last("--index-strategy") == "unsafe-best-match":
        yield taken(at, Setting(path=("index", "strategy"), value="best-match"))


def _named(
    stage: Stage, at: At, call: _Call, own: Mapping[str, str], index: str | None
) -> Iterator[Statement]:
    for text in call.plain:
        if re.split(r"[<>!~=\[; ]", text)[0] in _INSTALLERS and "==" not in text:
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
    path, bracket, extras = text.partition("[")
    cloned = stage.clone_at(path)
    if cloned is not None:
        clone, where = cloned
        clone.used = True
        name = clone.url.rstrip("/").removesuffix(".git").rpartition("/")[2]
        found = git_package(
            at, clone.url, clone.ref, key=f"{name}{bracket}{extras}", subdirectory=where,
            note=f"named {name} after its repository: check",
        )  # fmt: skip
        return _with_build(found, own, submodules=clone.submodules)
    origin = stage.in_context(path)
    if origin is None:
        return left(at, f"{path} is made by the build itself: name a wheel of it")
    if origin.is_file():
        return requirement_statement(at, str(origin), folder=stage.context)
    return project_folder(at, origin, extras=f"{bracket}{extras}")


def _with_build(found: Statement, own: Mapping[str, str], *, submodules: bool = False) -> Statement:
    """Add a command's own variables to what is built from git."""
    facts = []
    for fact in found.facts:
        if isinstance(fact, Wanted) and "git" in fact.source:
            more: dict[str, Any] = {"submodules": True} if submodules else {}
            more |= {"build": {"env": dict(own)}} if own else {}
            fact = replace(fact, source={**fact.source, **more})  # noqa: PLW2901
        facts.append(fact)
    return replace(found, facts=tuple(facts))


def _files(stage: Stage, at: At, call: _Call, index: str | None) -> Iterator[Statement]:
    roles: dict[str, Role] = {
        "-r": "packages", "--requirement": "packages", "-c": "constraints",
        "--constraint": "constraints", "--overrides": "overrides", "--override": "overrides",
    }  # fmt: skip
    for option, role in roles.items():
        for name in call.all(option):
            path = stage.in_context(name)
            if path is None or not path.is_file():
                yield left(at, f"{name} is not in the build context")
                continue
            for each in included(at, path, role):
                yield _from_index(each, index)


def _from_index(each: Statement, index: str | None) -> Statement:
    if index is None:
        return each
    facts = [
        replace(fact, index=index) if isinstance(fact, Wanted) and not fact.source else fact
        for fact in each.facts
    ]
    return replace(each, facts=tuple(facts))


def _config(at: At, words: list[str]) -> Statement:
    if words[:1] == ["set"] and len(words) == 3 and words[1].endswith("index-url"):
        return index_statement(at, f"--{words[1].rpartition('.')[2]}", words[2])
    return taken(at, note="how pip is set up is no matter")


def _python(at: At, call: _Call) -> Statement:
    named = call.last("--python", "-p") or next(
        (each for each in call.plain if re.match(r"3\.\d+", each)), ""
    )
    match = re.match(r"(?:cpython-?|python)?(3\.\d+)", named)
    facts = [Setting(path=("python",), value=match[1])] if match else []
    return taken(at, *facts, note="the environment is laid down by envbuilder")


def _sync(stage: Stage, at: At, call: _Call) -> Iterator[Statement]:
    path = stage.in_context("pyproject.toml")
    if path is None:
        yield left(at, "pyproject.toml is not in the build context")
        return
    stage.environments.add(stage.inside(".venv"))
    yield taken(at)
    yield from read_pyproject(path, pin=False, extras=frozenset(call.all("--extra")))
