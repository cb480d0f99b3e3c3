"""The commands of RUN lines that say something that a spec can hold, each read by one function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from envbuilder.workflow.adopt.statements import At, Setting, Statement, left, taken

from .apt import read_apt, read_dnf
from .files import account
from .git import read_git
from .pip import read_pip
from .stage import Stage
from .uv import read_conda, read_uv

_PYTHON = re.compile(r"(?:\S*/)?python(3(\.\d+)?)?")
_PIP = re.compile(r"(?:\S*/)?pip(3(\.\d+)?)?")
_WRAPPERS = {"sudo", "env", "time", "exec", "command", "nice"}
_CACHES = re.compile(
    r"/var/lib/apt(/\S*)?|/var/cache/\S*|\S*\.cache(/\S*)?|/tmp(/\S*)?|\S*/pkgs|~/\.\S+|/root/\.\S+"
)
_IDLE = {
    "set": "how the shell runs is no matter",
    "echo": "it only says something",
    "true": "",
    ":": "",
    "exit": "",
    "sleep": "",
    "which": "it only asks",
    "nvcc": "it only asks",
    "gcc": "it only asks",
    "ls": "it only asks",
    "du": "it only asks",
    "source": "the environment needs no activation",
    ".": "the environment needs no activation",
    "ldconfig": "the list of libraries is made when the system is laid down",
}
_REASONS = {
    "add-apt-repository": "packages of another repository: only the base's own are locked",
    "apt-add-repository": "packages of another repository: only the base's own are locked",
    "apt-key": "packages of another repository: only the base's own are locked",
    "curl": "what it fetches has no hash: name a package, or lay the file down yourself",
    "wget": "what it fetches has no hash: name a package, or lay the file down yourself",
    "make": "it compiles: build a wheel of it, and name that with `url:` or `path:`",
    "cmake": "it compiles: build a wheel of it, and name that with `url:` or `path:`",
    "ninja": "it compiles: build a wheel of it, and name that with `url:` or `path:`",
    "dpkg": "a .deb file from elsewhere: only the base's own packages are locked",
    "npm": "packages of another language",
    "yarn": "packages of another language",
    "cargo": "packages of another language",
    "apk": "packages of Alpine, whose musl no wheel of this field is made for",
    "huggingface-cli": "a model is mounted into the container, not laid into its image",
    "hf": "a model is mounted into the container, not laid into its image",
}
_ACCOUNTS = {"useradd", "adduser", "groupadd", "addgroup"}
_STEP = "no key says it: a step can run it, `steps.after_python`"


def read_command(
    stage: Stage, at: At, words: list[str], *, unknown: set[str], own: Mapping[str, str]
) -> Iterator[Statement]:
    """Read one command, whose words are expanded; ``own`` are variables that it alone gets."""
    while words and words[0] in _WRAPPERS:
        words = [word for word in words[1:] if not re.match(r"[A-Z_]+=", word)]
    if not words:
        return
    reader = _reader(words)
    missing = _missing(words, unknown)
    if reader is not None and missing and reader not in {read_apt, read_dnf}:
        yield left(at, stage.missing(missing))
    elif reader is not None and missing:
        known = [word for word in words if not _missing([word], missing)]
        for each in reader(stage, at, known, own):
            yield replace(each, left=each.left or stage.missing(missing))
    elif reader is not None:
        yield from reader(stage, at, words, own)
    elif words[0].rpartition("/")[2] in _ACCOUNTS:
        yield from account(stage, at, words)
    else:
        yield _plain(stage, at, words)


_Reader = Callable[[Stage, At, list[str], Mapping[str, str]], Iterator[Statement]]


def _reader(words: list[str]) -> _Reader | None:
    """Return what reads a command, by its program; ``python -m pip`` is pip."""
    name = words[0].rpartition("/")[2]
    if _PYTHON.fullmatch(words[0]) and words[1:2] == ["-m"] and len(words) > 2:
        del words[:2]
        return _reader(words)
    if _PIP.fullmatch(words[0]):
        return read_pip
    readers: dict[str, _Reader] = {
        "apt-get": read_apt, "apt": read_apt, "dnf": read_dnf, "yum": read_dnf,
        "microdnf": read_dnf, "uv": read_uv, "git": read_git, "conda": read_conda,
        "mamba": read_conda, "micromamba": read_conda,
    }  # fmt: skip
    return readers.get(name)


def _missing(words: list[str], unknown: set[str]) -> set[str]:
    """Return the unknown variables that the words of a command really hold."""
    text = " ".join(words)
    return {name for name in unknown if name in text}


def _plain(stage: Stage, at: At, words: list[str]) -> Statement:
    name = words[0].rpartition("/")[2]
    if name in _IDLE:
        return taken(at, note=_IDLE[name])
    if name == "rm" and all(_CACHES.fullmatch(each) for each in words[1:] if each[0] != "-"):
        return taken(at, note="no cache reaches the image")
    if name in {"venv", "virtualenv"}:
        stage.environments.add(stage.inside(words[-1]))
    if name in {"venv", "virtualenv", "ensurepip"} or words[-1] in {"--version", "-V"}:
        return taken(at, note="the environment is laid down by envbuilder")
    if name in {"update-alternatives", "ln"} and any("python" in each for each in words):
        return _interpreter(at, words)
    return left(at, _REASONS.get(name, _STEP))


def _interpreter(at: At, words: list[str]) -> Statement:
    """Read which Python gets the plain name."""
    named = [match[1] for each in words if (match := re.fullmatch(r"\S*/python(3\.\d+)", each))]
    facts = [Setting(path=("python",), value=named[-1])] if named else []
    return taken(at, *facts, note="the environment's own python comes first on PATH")
