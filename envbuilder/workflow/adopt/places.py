"""Packages that an address or a path names: repositories, files, project folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, canonicalize_name

from envbuilder.model.errors import UsageError, without_login
from envbuilder.model.filenames import parse_sdist_filename, parse_wheel_filename

from .statements import At, Setting, Statement, Wanted, left, taken
from .texts import read_toml

RefKind = Literal["commit", "tag", "branch"]
_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*@\s")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_WHOLE_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SPELLED = re.compile(r"refs/(?P<kind>heads|tags)/(?P<name>.+)")
_KINDS: dict[str, RefKind] = {"heads": "branch", "tags": "tag"}
_TAG = re.compile(r"v?\d+(\.\d+)*\S*")
_ARCHIVES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


def is_place(text: str) -> bool:
    """Return whether ``text`` names an address or a path, as pip tells them from requirements."""
    if _NAMED.match(text):
        return False
    head = text.partition("[")[0].partition(";")[0].strip()
    return (
        "://" in head.partition("@")[0]
        or head.startswith((".", "/", "~"))
        or head.endswith((".whl", *_ARCHIVES))
        or ("/" in head and "@" not in head)
    )


def from_place(at: At, text: str, *, folder: Path, key: str = "") -> Statement:
    """Read what an address or a path names; paths count from ``folder``.

    ``key`` is the package's name with its extras, if the text that named the place says it.
    """
    text, condition = split_marker(text)
    if text.startswith("git+"):
        return from_git(at, text, key=key, marker=condition)
    if re.match(r"(hg|svn|bzr)\+", text):
        return left(at, "only git repositories are built from")
    if re.match(r"https?://", text):
        return _from_url(at, text, key=key, marker=condition)
    if text.startswith("file://"):
        text = path_of(text)
    return _from_path(at, text, folder=folder, key=key, marker=condition)


def path_of(url: str) -> str:
    """Return the path in an address; nothing if it is none."""
    try:
        return unquote(urlsplit(url).path)
    except ValueError:
        return ""


def split_marker(text: str) -> tuple[str, str]:
    """Split a place and its marker; in an address, a semicolon without a blank is a part of it."""
    sign = r"\s;|;\s" if "://" in text.partition(";")[0] else ";"
    found = re.search(rf"(?:{sign})(.+)$", text)
    return (text[: found.start()].strip(), found[1].strip()) if found else (text, "")


def from_git(at: At, text: str, *, key: str = "", marker: str = "") -> Statement:
    """Read ``git+URL@REF#egg=NAME&subdirectory=DIR``; without a ref nothing would be pinned."""
    address, _, fragment = text.removeprefix("git+").partition("#")
    start = address.find("://") + 3
    slash = address.find("/", start)
    path, sign, ref = address[slash:].rpartition("@")
    url, ref = (address[:slash] + path, ref) if sign else (address, "")
    said = parse_qs(fragment)
    key = key or said.get("egg", [""])[0] or _slug(url)
    note = "" if "egg" in said or key != _slug(url) else f"named {key} after its repository: check"
    where = said.get("subdirectory", [""])[0]
    return git_package(at, url, ref, key=key, subdirectory=where, marker=marker, note=note)


def git_package(
    at: At,
    url: str,
    ref: str,
    *,
    kind: RefKind | None = None,
    key: str,
    subdirectory: str = "",
    marker: str = "",
    note: str = "",
) -> Statement:
    """Return a package of a repository at ``ref``; without a ``kind`` its looks say what it is."""
    if without_login(url) != url and not url.startswith("ssh://"):
        return left(at, "the address holds a login: a git credential helper keeps it")
    if not ref:
        return left(at, f"no commit, tag or branch of {url} is named, so it floats")
    if spelled := _SPELLED.fullmatch(ref):
        kind, ref = _KINDS[spelled["kind"]], spelled["name"]
    known, guess = (kind, "") if kind else _guessed(ref)
    table = {"git": url, known: ref}
    if subdirectory:
        table["subdirectory"] = subdirectory
    notes = "; ".join(each for each in (note, guess) if each)
    return _wanted(at, key or _slug(url), table, marker, notes)


def is_commit(ref: str) -> bool:
    """Return whether ``ref`` may be the id of a commit, whole or short."""
    return _COMMIT.fullmatch(ref) is not None


def _guessed(ref: str) -> tuple[RefKind, str]:
    """Tell by its looks what a bare ref is, and say that it is a guess."""
    if _WHOLE_COMMIT.fullmatch(ref):
        return "commit", ""
    kind: RefKind = "tag" if _TAG.fullmatch(ref) else "branch"
    kind = "commit" if is_commit(ref) else kind
    return kind, f"{ref} is taken for a {kind} by its looks: check"


def _from_url(at: At, text: str, *, key: str, marker: str) -> Statement:
    url = text.partition("#")[0]
    if without_login(url) != url:
        return left(at, "the address holds a login: netrc keeps it")
    name = path_of(url).rpartition("/")[2]
    return from_file(at, name, {"url": url}, key=key, marker=marker)


def _from_path(at: At, text: str, *, folder: Path, key: str, marker: str) -> Statement:
    text, _, extras = text.partition("[")
    path = (folder / text).resolve() if not text.startswith("~") else Path(text)
    if any(each in text for each in "*?$"):
        return left(at, "a path with wildcards or variables names no file")
    if text.endswith((".whl", *_ARCHIVES)):
        return from_file(at, path.name, {"path": str(path)}, key=key, marker=marker)
    return project_folder(at, path, extras=f"[{extras}" if extras else "", key=key, marker=marker)


def project_folder(
    at: At, path: Path, *, extras: str = "", key: str = "", marker: str = ""
) -> Statement:
    """Read a package that is a project's folder."""
    if not any(_is_file(path / name) for name in ("pyproject.toml", "setup.py")):
        return left(at, f"{path.name} is no project: it has no pyproject.toml and no setup.py")
    return _wanted(at, f"{key or project_name(path)}{extras}", {"path": str(path)}, marker)


def project_name(folder: Path) -> str:
    """Return the name that a project's pyproject.toml says, else that of its folder."""
    path = folder / "pyproject.toml"
    try:
        table = read_toml(path).get("project", {}) if _is_file(path) else {}
    except UsageError:
        table = {}  # its own reader says what is wrong with it
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) else folder.name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system takes
        return False


def from_file(at: At, filename: str, table: dict[str, str], *, key: str, marker: str) -> Statement:
    """Read a wheel or an sdist by its file name; ``table`` says where it is."""
    if filename.endswith(_ARCHIVES):
        return _sdist(at, filename, table, key=key, marker=marker)
    try:
        name, _, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return left(at, f"{filename!r} is not the file name of a wheel")
    found = _wanted(at, key or str(name), table, marker)
    pythons = {_python_of(each) for each in tags} - {None}
    if len(pythons) != 1 or found.left:
        return found
    return taken(at, *found.facts, Setting(path=("python",), value=pythons.pop()))


def _sdist(at: At, filename: str, table: dict[str, str], *, key: str, marker: str) -> Statement:
    try:
        name = key or str(parse_sdist_filename(filename)[0])
    except InvalidSdistFilename:
        return left(at, f"{filename!r} does not say which package it is: NAME @ ADDRESS does")
    return _wanted(at, name, table, marker)


def _python_of(tag: Tag) -> str | None:
    """Return the one Python that a wheel of ``tag`` is for, if it is for one alone."""
    match = re.fullmatch(r"cp3(\d+)", tag.interpreter)
    return f"3.{match[1]}" if match and tag.abi != "abi3" else None


def _wanted(at: At, key: str, table: dict[str, str], marker: str, note: str = "") -> Statement:
    text = f"{key} ; {marker}" if marker else key
    try:
        Requirement(text)
    except InvalidRequirement:
        wrong = f"{key!r} is not the name of a package"
        return left(at, f"{wrong}, or {marker!r} no marker" if marker else wrong)
    return taken(at, Wanted(requirement=text, source=table), note=note)


def _slug(url: str) -> str:
    last = url.rstrip("/").removesuffix(".git").rpartition("/")[2].rpartition(":")[2]
    return canonicalize_name(last)
