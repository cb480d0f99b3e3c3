"""What a source is: told by its prefix, its name, and at last by how its text begins."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from packaging.utils import canonicalize_name

from envbuilder.model.errors import UsageError

from .texts import BY_TOOL, lines_of, read_text
from .venv import is_venv

_EXTRAS = re.compile(r"^(?P<path>.+?)\[(?P<extras>[A-Za-z0-9._, -]+)\]$")
_DOCKERFILE = re.compile(r"(.*[._-])?(dockerfile|containerfile)([._-].*)?", re.IGNORECASE)
_PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
_BEGINS = re.compile(r"\s*(?:FROM|ARG)\s", re.IGNORECASE)
_KNOWN = (
    "a requirements file, pyproject.toml, uv.lock, pylock.toml, a virtual environment, "
    "a Dockerfile, or an image: oci:DIR, docker:NAME, PATH.tar, HOST/NAME:TAG"
)


class Kind(Enum):
    """The kinds of sources that a spec is written from."""

    REQUIREMENTS = "requirements"
    PYPROJECT = "pyproject"
    PYLOCK = "pylock"
    VENV = "venv"
    DOCKERFILE = "dockerfile"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source that exists, or an image's name; ``extras`` are a project's, if it is one."""

    kind: Kind
    name: str
    path: Path = Path()
    extras: frozenset[str] = frozenset()


def find_source(text: str) -> Source:
    """Tell what ``text`` names; raise UsageError with what could be named if that is unclear."""
    if text.startswith(("oci:", "docker:")) or text.endswith(".tar"):
        return Source(kind=Kind.IMAGE, name=text)
    match = _EXTRAS.match(text) if not _exists(Path(text)) else None
    names = match["extras"].split(",") if match else []
    extras = frozenset(canonicalize_name(each.strip()) for each in names)
    path = Path(match["path"] if match else text).expanduser()
    if not _exists(path):
        if _looks_like_image(text):
            return Source(kind=Kind.IMAGE, name=text)
        raise UsageError(f"there is no {text}", hint=f"name {_KNOWN}")
    found = _in_folder(path) if path.is_dir() else _file(path)
    if extras and found.kind is not Kind.PYPROJECT:
        raise UsageError(f"{path} is no project, so it has no extras", hint="leave them out")
    return Source(kind=found.kind, name=text, path=found.path, extras=extras)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise UsageError(f"cannot look at {path}: {error.strerror}") from error


def _looks_like_image(text: str) -> bool:
    tail = text.rpartition("/")[2]
    return not text.startswith((".", "/", "~")) and (":" in tail or "@sha256:" in text)


def _in_folder(folder: Path) -> Source:
    """Find the one thing of a folder that can be read."""
    if is_venv(folder):
        return Source(kind=Kind.VENV, name=str(folder), path=folder)
    names = ("pyproject.toml", "Dockerfile", "Containerfile", "requirements.txt", "pylock.toml")
    present = [folder / name for name in names if (folder / name).is_file()]
    venvs = (
        [] if present else [each for each in (folder / ".venv", folder / "venv") if is_venv(each)]
    )
    if len(present) == 1:
        return _file(present[0])
    if len(venvs) == 1:
        return Source(kind=Kind.VENV, name=str(venvs[0]), path=venvs[0])
    if not present:
        raise UsageError(
            f"{folder} holds nothing that a spec is written from", hint=f"name {_KNOWN}"
        )
    listed = ", ".join(str(path) for path in present)
    raise UsageError(f"{folder} holds several: {listed}", hint=f"name one: --from {present[0]}")


def _file(path: Path) -> Source:
    if not stat.S_ISREG(path.stat().st_mode):
        raise UsageError(f"{path} is neither a file nor a folder", hint=f"name {_KNOWN}")
    return Source(kind=_kind_of(path), name=str(path), path=_project_of(path))


def _project_of(path: Path) -> Path:
    return path.with_name("pyproject.toml") if path.name == "uv.lock" else path


def _kind_of(path: Path) -> Kind:
    name = path.name
    if name in {"pyproject.toml", "uv.lock"}:
        return Kind.PYPROJECT
    if _PYLOCK.fullmatch(name):
        return Kind.PYLOCK
    if _DOCKERFILE.fullmatch(name):
        return Kind.DOCKERFILE
    if name.endswith((".txt", ".in")):
        return Kind.REQUIREMENTS
    return _by_content(path)


def _by_content(path: Path) -> Kind:
    text = read_text(path, limit=BY_TOOL)
    lines = (line for line in lines_of(text) if line.strip() and line.lstrip()[:1] != "#")
    first = next(lines, "")
    if _BEGINS.match(first):
        return Kind.DOCKERFILE
    if "lock-version" in first:
        return Kind.PYLOCK
    if first.startswith("[") or re.match(r"[\w-]+\s*:(\s|$)", first):
        raise UsageError(f"{path} is of a kind that is not read", hint=f"name {_KNOWN}")
    if re.match(r"-|[A-Za-z0-9][\w.-]*\s*(\[|[=<>~!;@#]|$)", first):
        return Kind.REQUIREMENTS
    raise UsageError(f"{path} is of a kind that is not known", hint=f"name {_KNOWN}")
