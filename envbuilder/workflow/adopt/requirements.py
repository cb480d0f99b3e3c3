"""Requirements as pip reads them: files of lines, and the arguments of ``pip install``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from envbuilder.model.errors import UsageError, without_login

from .places import from_place, is_place
from .statements import At, Role, Setting, Statement, Wanted, left, taken
from .texts import read_text

_COMMENT = re.compile(r"(^|\s)#.*")
_HASH = re.compile(r"\s--hash[= ]\S+")
_VARIABLE = re.compile(r"\$\{\w+\}")
_PER_LINE = re.compile(r"\s--(config-settings?|global-option|install-option)[= ].*")
_QUOTED = re.compile(r"^([\"'])(.*)\1$")
_WHEELS_ALONE = re.compile(r"--only-binary[=\s]\s*[\"']?([^\"'\s]+)")
_LONGEST = 8192  # characters
_ISOLATED = "what a build needs beyond its [build-system] goes into `build.requires`"
IDLE = {  # what needs no key: it says what is so in any case
    "--only-binary": "wheels alone are taken from indexes",
    "--prefer-binary": "wheels alone are taken from indexes",
    "--no-build": "wheels alone are taken from indexes",
    "--no-build-package": "wheels alone are taken from indexes",
    "--require-hashes": "the lock holds the hash of every file",
    "--use-feature": "it is about pip itself",
    "--no-build-isolation": _ISOLATED,
    "--no-build-isolation-package": _ISOLATED,
    "--no-deps": "the resolver decides: `overrides` replace what a package requires",
}
_FILES: dict[str, Role] = {
    "-r": "packages",
    "--requirement": "packages",
    "-c": "constraints",
    "--constraint": "constraints",
}
_PRE_RELEASE = 'a pre-release is pinned by its version: "==1.0rc1"'
_WHERE = "`platform` and `python` of the spec say it"
REASONS = {
    "--find-links": "a page of links is no index: name each file with `url:`, or serve an index",
    "--no-index": "indexes come from the machine: its own configuration says which",
    "--trusted-host": "whom the machine trusts is its own configuration",
    "--no-binary": "a wheel is taken where there is one: `build.sdists` allows what has none",
    "--pre": _PRE_RELEASE,
    "--prerelease": _PRE_RELEASE,
    "--torch-backend": "it chooses the index that has torch: name that one under `index.named`",
    "--platform": _WHERE,
    "--python-platform": _WHERE,
    "--python-version": _WHERE,
    "--package": "another member of the workspace: name its own pyproject.toml",
    "--all-packages": "other members of the workspace: name their own pyproject.toml",
}
_SHORT = {"-f": "--find-links", "-i": "--index-url", "-e": "--editable"}


def read_requirements_file(path: Path) -> Iterator[Statement]:
    """Read a file of requirements, and what it includes; raise UsageError if it cannot be read."""
    yield from _lines_of(path, read_text(path), "packages", (path.resolve(),))


def included(at: At, path: Path, role: Role, stack: tuple[Path, ...] = ()) -> Iterator[Statement]:
    """Read a file that a line or a command includes: first that line, then those of the file."""
    path = path.resolve()
    if path in stack:
        yield left(at, f"{path.name} includes itself")
        return
    try:
        text = read_text(path)
    except UsageError as error:
        yield left(at, error.message)
        return
    yield taken(at)
    yield from _lines_of(path, text, role, (*stack, path))


def _lines_of(path: Path, text: str, role: Role, stack: tuple[Path, ...]) -> Iterator[Statement]:
    for number, line in _logical_lines(text):
        at = At(place=f"{path.name}:{number}", text=line)
        yield from _line(at, line, path.parent, role, stack)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join what a backslash continues, and drop comments; count from 1.

    pip takes every end of a line that ``str.splitlines`` knows.
    """
    begun, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if begun else number
        comment = line.lstrip().startswith("#")
        begun += "" if comment else line
        if begun.endswith("\\") and not comment:
            begun = f"{begun[:-1].rstrip()} "
            continue
        if found := _COMMENT.sub("", begun).strip():
            yield first, found
        begun = ""
    if found := _COMMENT.sub("", begun).strip():
        yield first, found


def _line(
    at: At, line: str, folder: Path, role: Role, stack: tuple[Path, ...]
) -> Iterator[Statement]:
    if len(line) > _LONGEST:
        yield left(at, "longer than any requirement")
    elif variable := _VARIABLE.search(line):
        yield left(at, f"{variable[0]} is a variable of the machine")
    elif line.startswith("-"):
        yield from _option_line(at, line, folder, role, stack)
    else:
        bare = _PER_LINE.sub("", _HASH.sub("", line)).strip()
        yield requirement_statement(at, bare, folder=folder, role=role)


def _option_line(
    at: At, line: str, folder: Path, role: Role, stack: tuple[Path, ...]
) -> Iterator[Statement]:
    name, _, value = re.sub(r"^(--[\w-]+)=", r"\1 ", line).partition(" ")
    if len(name) > 2 and name[1] != "-":  # -rfile, -e.
        name, value = name[:2], name[2:]
    value = _QUOTED.sub(r"\2", value.strip())
    if name in _FILES:
        inner = _FILES[name] if role == "packages" else role  # what constraints include narrows too
        yield from included(at, folder / value, inner, stack)
    else:
        yield option_statement(at, name, value, folder)


def option_statement(at: At, name: str, value: str, folder: Path) -> Statement:
    """Read an option that stands for itself: an index, an editable project, how pip works."""
    name = _SHORT.get(name, name)
    if name == "--editable":
        return _editable(at, value, folder)
    if name in {"--index-url", "--extra-index-url"}:
        return index_statement(at, name, value)
    if name == "--exclude-newer":
        return taken(at, Setting(path=("index", "exclude_newer"), value=value))
    if name in IDLE:
        return taken(at, note=IDLE[name])
    return left(at, REASONS.get(name, f"the option {name} has no key in a spec"))


def takes_wheels_alone(statements: Iterable[Statement]) -> bool:
    """Return whether ``--only-binary`` lets nothing be built; of several, the last word counts."""
    alone = False
    for each in statements:
        found = _WHEELS_ALONE.match(each.at.text)
        for word in found[1].split(",") if found else ():
            alone = {":all:": True, ":none:": False}.get(word, alone)
    return alone


def index_statement(at: At, option: str, url: str) -> Statement:
    """Read ``--index-url`` or ``--extra-index-url``."""
    if "$" in url:
        return left(at, "the address of the index is not known here")
    if without_login(url) != url:
        return left(at, "the address holds a login: netrc or UV_INDEX_* variables keep it")
    value: object = url if option == "--index-url" else [url]
    key = "url" if option == "--index-url" else "extra_urls"
    return taken(at, Setting(path=("index", key), value=value))


def requirement_statement(
    at: At, text: str, *, folder: Path, role: Role = "packages", index: str | None = None
) -> Statement:
    """Read one requirement, whichever form pip takes."""
    if is_place(text):
        return from_place(at, text, folder=folder)
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        return left(at, f"not a requirement: {str(error).splitlines()[0]}")
    key = f"{parsed.name}[{','.join(sorted(parsed.extras))}]" if parsed.extras else parsed.name
    if parsed.url is not None:
        marker = f" ; {parsed.marker}" if parsed.marker else ""
        return from_place(at, f"{parsed.url}{marker}", folder=folder, key=key)
    return taken(at, Wanted(requirement=str(parsed), role=role, index=index))


def _editable(at: At, value: str, folder: Path) -> Statement:
    found = from_place(at, value, folder=folder)
    note = "; ".join(["installed, not editable", *([found.note] if found.note else [])])
    return found if found.left else taken(at, *found.facts, note=note)
