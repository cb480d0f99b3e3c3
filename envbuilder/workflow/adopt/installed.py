"""Packages that are there in one version each: in an environment, an image or a lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.parser import BytesHeaderParser
from urllib.parse import unquote, urlsplit

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuilder.model.codec import any_json
from envbuilder.model.errors import without_login

from .places import from_file, git_package
from .statements import At, Setting, Statement, Wanted, left, taken

_INSTALLERS = {"pip"}
_SEEDS = {"pip", "setuptools", "wheel"}
"""What `python -m venv`, virtualenv and base images lay down before anybody asks for anything."""
LOCAL = "a local version is of an index of its own: name it under index.named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One package that a source holds.

    ``requires`` are canonical names; ``asked`` says that somebody named it, not a package.
    ``source`` or ``left`` say it if no index has it; ``index`` is the address of the one that
    has, as an ``sdist`` alone where it says so.
    """

    at: At
    name: str
    version: str
    requires: tuple[str, ...] = ()
    asked: bool = False
    marker: str = ""
    index: str | None = None
    source: Mapping[str, str] | None = None
    sdist: bool = False
    left: str = ""


def held_statements(found: Sequence[Held], *, pin: bool) -> Iterator[Statement]:
    """Read packages: what nobody else needs is asked for; with ``pin`` the rest is held as well."""
    asked = _asked(found)
    for each in found:
        if each.name in _INSTALLERS and each.name not in _needed(found):
            yield taken(each.at, note="no environment needs its installer")
        elif each.left:
            yield left(each.at, each.left)
        elif each.name in asked:
            yield _package(each)
        elif pin and each.source is None:
            held = Wanted(requirement=_pinned(each), role="constraints")
            yield taken(each.at, held, *_allowed(each))
        elif pin:
            yield _package(each)
        else:
            yield taken(each.at)


def _package(each: Held) -> Statement:
    if each.source is not None:
        marker = f" ; {each.marker}" if each.marker else ""
        return taken(each.at, Wanted(requirement=f"{each.name}{marker}", source=each.source))
    note = LOCAL if "+" in each.version and each.index is None else ""
    wanted = Wanted(requirement=_pinned(each), index=each.index)
    return taken(each.at, wanted, *_allowed(each), note=note)


def _allowed(each: Held) -> list[Setting]:
    return [built_from_sdist(each.name)] if each.sdist else []


def built_from_sdist(name: str) -> Setting:
    """Allow that the package ``name`` is built from an index's sdist."""
    return Setting(path=("build", "sdists"), value=[name])


def _pinned(each: Held) -> str:
    return f"{each.name}=={each.version}" + (f" ; {each.marker}" if each.marker else "")


def _needed(found: Iterable[Held]) -> set[str]:
    return {name for each in found for name in each.requires}


def _asked(found: Sequence[Held]) -> set[str]:
    """Name what was asked for: what is marked, and what nothing else brings, rings included.

    Not every installer marks, so what is left unmarked may have been asked for, too. uv marks every
    package, which says nothing.
    """
    requires = {each.name: each.requires for each in found}
    marked = {each.name for each in found if each.asked}
    asked = set() if requires.keys() - _SEEDS <= marked else marked
    reached = _reached(asked, requires)
    rest = [each for each in found if each.name not in reached]
    needed = _needed(rest)
    asked |= {each.name for each in rest if each.name not in needed}
    reached = _reached(asked, requires)
    for each in rest:
        if each.name not in reached:
            asked.add(each.name)
            reached |= _reached({each.name}, requires)
    return asked


def _reached(names: set[str], requires: Mapping[str, tuple[str, ...]]) -> set[str]:
    seen, waiting = set(names), list(names)
    while waiting:
        for name in requires.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def held_distribution(place: str, metadata: bytes, *, asked: bool, origin: bytes) -> Held | None:
    """Read an installed distribution; None if it is half removed, which installers overlook.

    ``metadata`` are the bytes of METADATA, which old packages have in any encoding; ``origin``
    those of direct_url.json (PEP 610), or none.
    """
    head = BytesHeaderParser().parsebytes(metadata)
    if not head["Name"] or not head["Version"]:
        return None
    name, version = str(head["Name"]), str(head["Version"])
    held = Held(
        at=At(place=place, text=f"{name} {version}"),
        name=canonicalize_name(name),
        version=version,
        requires=tuple(_names(str(line) for line in head.get_all("Requires-Dist") or ())),
        asked=asked,
    )
    return _with_origin(held, origin.decode(errors="replace")) if origin else _checked(held)


def _checked(held: Held) -> Held:
    try:
        Version(held.version)
    except ValueError:
        return replace(held, left=f"{held.version!r} is not a version")
    return held


def _names(requires: Iterable[str]) -> Iterator[str]:
    """Name what is required without extras, here or elsewhere."""
    for line in requires:
        try:
            parsed = Requirement(line)
            if parsed.marker is None or parsed.marker.evaluate({"extra": ""}):
                yield canonicalize_name(parsed.name)
        except ValueError:
            continue  # old metadata; the package itself counts all the same


def _with_origin(held: Held, origin: str) -> Held:
    try:
        said = any_json(origin)
        url, vcs = str(said["url"]), said.get("vcs_info", {})
        commit, directory = str(vcs.get("commit_id", "")), "dir_info" in said
    except (ValueError, KeyError, TypeError, AttributeError):
        return replace(held, left="its direct_url.json is not what PEP 610 says")
    if vcs:
        where = str(said.get("subdirectory", ""))
        found = git_package(held.at, url, commit, kind="commit", key=held.name, subdirectory=where)
        return of_statement(held, found)
    if directory or url.startswith("file:"):
        return replace(held, left="installed from files of its machine: name a wheel with `path:`")
    if without_login(url) != url:
        return replace(held, left="the address holds a login: netrc keeps it")
    plain = url.partition("#")[0]
    try:
        filename = unquote(urlsplit(plain).path).rpartition("/")[2]
    except ValueError:
        return replace(held, left=f"{plain!r} is no address")
    return of_statement(
        held, from_file(held.at, filename, {"url": plain}, key=held.name, marker="")
    )


def of_statement(held: Held, found: Statement) -> Held:
    """Return ``held`` from where ``found``, a statement about one package, says it is."""
    if found.left:
        return replace(held, left=found.left)
    sources = [fact.source for fact in found.facts if isinstance(fact, Wanted)]
    return replace(held, source=sources[0])


def usual_index(indexes: Iterable[str | None]) -> str | None:
    """Return the index that most packages of a lock come from: it counts as the machine's own."""
    named = Counter(each for each in indexes if each is not None)
    return named.most_common(1)[0][0] if named else None


def valid_marker(text: str) -> bool:
    """Return whether ``text`` is a PEP 508 marker."""
    try:
        Marker(text)
    except ValueError:
        return False
    return True
