"""Versions that come from git tags, without git: the same for one commit on every day and machine.

setuptools-scm and hatch-vcs read ``.git_archival.txt``, which ``git archive`` would fill in: with
it the project's own version scheme applies, and the files that git tracks are known as well. The
commit's ``describe`` is locked, since a tag that comes later would change it. It carries nine
digits of the commit, as setuptools-scm writes them, where git would take as many as a clone happens
to need. Tools that cannot read the file are told the version by their own variable.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuilder.model.errors import ResolutionError

from .repository import GitRepository

ARCHIVAL = ".git_archival.txt"
_DIGITS = 9
_READERS = {"setuptools-scm", "hatch-vcs", "vcs-versioning"}
_VARIABLES = {
    "pdm-backend": "PDM_BUILD_SCM_VERSION",
    "pbr": "PBR_VERSION",
    "poetry-dynamic-versioning": "POETRY_DYNAMIC_VERSIONING_BYPASS",
}
_NAMES = "|".join(sorted(_READERS | set(_VARIABLES))).replace("-", "[-_]")
_NAMED = re.compile(rf"\b({_NAMES})\b".encode())
_DESCRIBE = re.compile(r"(?P<tag>.+)-(?P<distance>\d+)-g(?P<commit>[0-9a-f]+)")
_VERSION_IN_TAG = re.compile(r"(?:.*?[-_/]?)v?(?P<version>\d.*)", re.IGNORECASE)


def needs_history(requires: Iterable[Requirement]) -> bool:
    """Return whether one of the build requirements makes versions of tags."""
    return bool(_names(requires) & (_READERS | set(_VARIABLES)))


def names_history(script: bytes) -> bool:
    """Return whether a setup.py or setup.cfg names such a tool: it may ask for it only when run."""
    return _NAMED.search(script) is not None


def describe(history: GitRepository, commit: str, pyproject: Mapping[str, Any]) -> str:
    """Say ``TAG-DISTANCE-gCOMMIT``: the nearest tag, as setuptools-scm asks for it.

    A project's own ``git_describe_command`` counts for the tags that it takes. Without any tag it
    is ``0.0`` and the number of commits, as setuptools-scm has it. Raises ResolutionError if
    that command cannot be read.
    """
    try:
        patterns = _patterns(pyproject)
    except (AttributeError, TypeError, ValueError) as error:
        place = f"pyproject.toml in {history.address} at {commit[:12]}"
        raise ResolutionError(f"{place}: [tool.setuptools_scm] cannot be read: {error}") from error
    asked = ("describe", "--tags", "--long", "--abbrev=64", *patterns, commit)
    if found := history.ask(*asked):
        return f"{found.removesuffix(commit)}{commit[:_DIGITS]}"
    distance = history.run("rev-list", "--count", commit).decode().strip()
    return f"0.0-{distance}-g{commit[:_DIGITS]}"


def write_archival(folder: Path, *, commit: str, described: str) -> None:
    """Write what ``git archive`` would have put into ``.git_archival.txt``.

    It takes the place of the commit's own, which may be a link to anywhere. Raises ResolutionError
    if the commit has a folder there.
    """
    path = folder / ARCHIVAL
    if path.is_dir() and not path.is_symlink():
        raise ResolutionError(f"commit {commit} has a folder {ARCHIVAL}, which must be a file")
    path.unlink(missing_ok=True)
    with path.open("x", encoding="utf-8") as file:  # exclusive, so that it follows no link
        file.write(f"node: {commit}\ndescribe-name: {described}\n")


def variables(requires: Iterable[str], described: str) -> dict[str, str]:
    """Return the variables that tell the version to tools which do not read the file."""
    names = {canonicalize_name(name) for name in requires}
    version = plain_version(described)
    return {variable: version for tool, variable in _VARIABLES.items() if tool in names}


def plain_version(described: str) -> str:
    """Make a version of ``TAG-DISTANCE-gCOMMIT`` by setuptools-scm's default scheme.

    At the tag itself it is the tag's version, behind it ``NEXT.devDISTANCE+gCOMMIT``.
    """
    match = _DESCRIBE.fullmatch(described)
    assert match is not None, described  # noqa: S101 - describe() made it
    version = _tag_version(match["tag"])
    if match["distance"] == "0":
        return str(version)
    return f"{_next(version)}.dev{match['distance']}+g{match['commit']}"


def _next(version: Version) -> str:
    if version.pre is not None:
        return f"{version.base_version}{version.pre[0]}{version.pre[1] + 1}"
    release = (*version.release, 0)[: max(2, len(version.release))]
    return ".".join(map(str, (*release[:-1], release[-1] + 1)))


def _tag_version(tag: str) -> Version:
    found = _VERSION_IN_TAG.fullmatch(tag)
    try:
        return Version(found["version"] if found else tag)
    except ValueError:
        return Version("0.0")


def _patterns(pyproject: Mapping[str, Any]) -> list[str]:
    tool = pyproject.get("tool", {})
    settings = tool.get("setuptools_scm", tool.get("setuptools-scm", {}))
    command = settings.get("git_describe_command")
    if command is None:
        command = settings.get("scm", {}).get("git", {}).get("describe_command", [])
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    if "\0" in "".join(words):
        raise ValueError("a null character in the command")
    chosen = []
    for flag, value in zip_longest(words, words[1:], fillvalue=""):
        if flag in {"--match", "--exclude"}:
            chosen.append(f"{flag}={value}")
        elif flag.startswith(("--match=", "--exclude=")):
            chosen.append(flag)
    return chosen or ["--match=*[0-9]*"]


def _names(requires: Iterable[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requires}
