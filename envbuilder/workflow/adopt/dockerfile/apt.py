"""``apt-get install`` and its kin: packages of the base's own package manager."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from envbuilder.workflow.adopt.statements import At, Setting, Statement, left, taken

from .stage import Stage

_WITH_VALUE = {"-o", "--option", "-t", "--target-release", "-c", "--config-file", "--setopt"}
_DONE_ANYWAY = {
    "update", "clean", "autoclean", "autoremove", "upgrade", "dist-upgrade", "full-upgrade",
    "makecache", "check", "list", "policy",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:~^-]*(=[A-Za-z0-9.+:~-]+)?")
_PYTHON = re.compile(r"python(3\.\d+)(-(minimal|full|dev|venv|distutils))?")


def read_apt(
    _stage: Stage, at: At, words: list[str], _own: Mapping[str, str]
) -> Iterator[Statement]:
    """Read a command of apt."""
    yield _read(at, words)


def read_dnf(
    _stage: Stage, at: At, words: list[str], _own: Mapping[str, str]
) -> Iterator[Statement]:
    """Read a command of dnf or yum."""
    yield _read(at, words)


def _read(at: At, words: list[str]) -> Statement:
    verb, names, options = _arguments(words[1:])
    if verb in _DONE_ANYWAY or verb == "":
        return taken(at, note="the lock holds the versions of the base's packages")
    if verb in {"remove", "purge", "erase"}:
        return left(at, "nothing is taken away from a base")
    if verb not in {"install", "reinstall"}:
        return left(at, f"{words[0]} {verb} has no key in a spec")
    bad = [name for name in names if not _NAME.fullmatch(name) or name.endswith(".deb")]
    good = [name for name in names if name not in bad and name != "python3-pip"]
    facts = [Setting(path=("system", "packages"), value=[name]) for name in good]
    pythons = [match[1] for name in names if (match := _PYTHON.fullmatch(name))]
    if pythons:
        facts.append(Setting(path=("python",), value=pythons[0]))
    why = f"not the name of a package: {', '.join(bad[:3])}" if bad else _release(options)
    return Statement(at=at, facts=tuple(facts), left=why)


def _release(options: Mapping[str, str]) -> str:
    chosen = options.get("-t") or options.get("--target-release")
    return f"from the release {chosen}: only the base's own packages are locked" if chosen else ""


def _arguments(words: list[str]) -> tuple[str, list[str], dict[str, str]]:
    """Return the verb, its names, and the options that have values."""
    names, options, at = [], {}, 0
    while at < len(words):
        word = words[at]
        if word in _WITH_VALUE and at + 1 < len(words):
            options[word] = words[at + 1]
            at += 1
        elif not word.startswith("-"):
            names.append(word)
        at += 1
    return (names[0] if names else ""), names[1:], options
