"""``uv sync`` and what else uv does of itself; conda, as far as it says which Python."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from packaging.utils import canonicalize_name

from envbuilder.workflow.adopt.pyproject import Choice, read_pyproject
from envbuilder.workflow.adopt.requirements import option_statement
from envbuilder.workflow.adopt.statements import At, Setting, Statement, joined, left, taken

from .arguments import Call, read_arguments
from .pip import install, read_uv_pip
from .stage import Stage

_OF_SYNC = {
    "--extra", "--all-extras", "--group", "--all-groups", "--no-group", "--only-group", "--dev",
    "--no-dev", "--only-dev", "--no-default-groups", "--no-install-project", "--project",
    "--no-install-workspace", "--directory",
}  # fmt: skip


def read_uv(stage: Stage, at: At, words: list[str], own: Mapping[str, str]) -> Iterator[Statement]:
    """Read a command of uv."""
    rest = [word for word in words[1:] if word not in {"-q", "--quiet", "-v", "--verbose"}]
    if rest[:1] == ["pip"]:
        yield from read_uv_pip(stage, at, rest, own)
        return
    call = read_arguments(rest)
    verb = call.plain.pop(0) if call.plain else ""
    if verb == "sync":
        yield from _sync(stage, at, call)
    elif verb in {"venv", "python"}:
        stage.environments |= {stage.inside(each) for each in call.plain if verb == "venv"}
        yield _python(at, call)
    elif verb in {"cache", "lock", "self", "--version", ""}:
        yield taken(at)
    elif verb == "add":
        yield from install(stage, at, call, own)
    else:
        yield left(at, f"uv {verb} has no key in a spec")


def read_conda(
    _stage: Stage, at: At, words: list[str], _own: Mapping[str, str]
) -> Iterator[Statement]:
    """Read a command of conda: it may say which Python; its packages are not wheels."""
    call = read_arguments(words[1:])
    if call.plain[:1] and call.plain[0] in {"clean", "init", "config", "activate", "update"}:
        yield taken(at, note="conda is not needed")
        return
    pythons = [match[1] for each in call.plain if (match := re.match(r"python=+(3\.\d+)", each))]
    facts = tuple(Setting(path=("python",), value=each) for each in pythons[:1])
    others = [each for each in call.plain[1:] if not each.startswith("python=")]
    why = "packages of conda are no wheels: name those of a package index" if others else ""
    yield Statement(at=at, facts=facts, left=why)


def _python(at: At, call: Call) -> Statement:
    named = call.last("--python", "-p") or next(
        (each for each in call.plain if re.match(r"3\.\d+", each)), ""
    )
    match = re.match(r"(?:cpython-?|python)?(3\.\d+)", named)
    facts = [Setting(path=("python",), value=match[1])] if match else []
    return taken(at, *facts, note="the environment is laid down by envbuilder")


def _sync(stage: Stage, at: At, call: Call) -> Iterator[Statement]:
    folder = call.last("--project", "--directory") or "."
    path = stage.in_context(posixpath.join(folder, "pyproject.toml"))
    if path is None:
        yield left(at, "pyproject.toml is not in the build context")
        return
    stage.environments.add(stage.inside(posixpath.join(folder, ".venv")))
    others = call.others(_OF_SYNC)
    yield joined(at, [option_statement(at, *each, stage.context) for each in others])
    yield from read_pyproject(path, choice=_choice(call))


def _choice(call: Call) -> Choice:
    """Return what of its project ``uv sync`` installs."""
    only = _names(call, "--only-group", "--only-dev")
    alone = {"--no-install-project", "--no-install-workspace"} & call.options.keys()
    return Choice(
        extras=_names(call, "--extra"),
        all_extras="--all-extras" in call.options,
        groups=only | _names(call, "--group", "--dev"),
        all_groups="--all-groups" in call.options,
        default_groups=not only and "--no-default-groups" not in call.options,
        without=_names(call, "--no-group", "--no-dev"),
        project="nothing" if only else "dependencies" if alone else "package",
    )


def _names(call: Call, option: str, development: str = "") -> frozenset[str]:
    """Return the names that ``option`` gives; ``development`` stands for the group dev."""
    dev = {"dev"} if development in call.options else set()
    return frozenset(canonicalize_name(each) for each in call.all(option)) | dev
