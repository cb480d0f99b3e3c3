"""The cause book: mismatches that really happened, as data, one TOML file each.

A file says what it looks like (``[match]``), why it happens, what cures it, and where it was seen.
Every condition of ``[match]`` must hold; the file with the most conditions wins.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envbuilder.model.errors import UsageError
from envbuilder.model.toml_text import parse_toml
from envbuilder.smoke.report import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class CausePage:
    """A page of the book: the cause, its ``match`` conditions, and which counts were ``seen``.

    ``between`` says who disagrees, ``affects`` which versions do.
    """

    cause: Cause
    match: Mapping[str, Any]
    seen: str = ""
    between: str = ""
    affects: str = ""


@functools.cache
def book() -> tuple[CausePage, ...]:
    """Read the whole book, sorted by id."""
    folder = resources.files(__name__)
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return tuple(sorted((_read(file.name, file.read_text("utf-8")) for file in files), key=_id))


def explain(cause_id: str) -> CausePage:
    """Return the page ``cause_id``; raise UsageError that lists the known ones."""
    for entry in book():
        if entry.cause.id == cause_id:
            return entry
    known = ", ".join(entry.cause.id for entry in book())
    raise UsageError(f"the cause book has no page {cause_id!r}", hint=f"it knows {known}")


def search(text: str) -> tuple[CausePage, ...]:
    """Return the pages that hold every word of ``text``, or whose message is found in it."""
    words = text.casefold().split()
    return tuple(page for page in book() if _holds(page, words) or _is_about(page, text))


def _holds(page: CausePage, words: list[str]) -> bool:
    cause = page.cause
    told = (cause.id, cause.title, cause.cause, cause.cure, cause.link)
    whole = " ".join([*told, page.seen, page.between, page.affects]).casefold()
    return bool(words) and all(word in whole for word in words)


def _is_about(page: CausePage, text: str) -> bool:
    message = page.match.get("message")
    return message is not None and re.search(message, text) is not None


def likely_cause(kind: str, facts: Mapping[str, Any]) -> Cause | None:
    """Return the cause whose conditions fit a finding of ``kind`` best, or None.

    Conditions: ``kind`` (one or a list), ``message`` (a regular expression), ``versions`` (package
    to version specifier), and any other key, which must equal the fact of that name or be a list
    that holds it.
    """
    fitting = [entry for entry in _about(kind) if _fits(entry.match, facts)]
    best = max(fitting, key=lambda entry: _weight(entry.match), default=None)
    return best.cause if best else None


@functools.cache
def _about(kind: str) -> tuple[CausePage, ...]:
    return tuple(entry for entry in book() if kind in _listed(entry.match["kind"]))


def _fits(match: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    if "message" in match and not re.search(match["message"], str(facts.get("message", ""))):
        return False
    versions = match.get("versions", {})
    if not all(_within(facts.get(package), text) for package, text in versions.items()):
        return False
    plain = {key for key in match if key not in ("kind", "message", "versions")}
    return all(facts.get(key) in _listed(match[key]) for key in plain)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _within(version: object, specifier: str) -> bool:
    try:
        return Version(str(version)) in SpecifierSet(specifier, prereleases=True)
    except ValueError:
        return False


def _weight(match: Mapping[str, Any]) -> int:
    return len(match) + len(match.get("versions", {}))


def _id(entry: CausePage) -> str:
    return entry.cause.id


def _read(name: str, text: str) -> CausePage:
    page = parse_toml(text)
    return CausePage(
        cause=Cause(
            id=name.removesuffix(".toml"),
            title=page["title"],
            cause=page["cause"].strip(),
            cure=page["cure"].strip(),
            link=page.get("link", ""),
        ),
        match=page["match"],
        seen=page.get("seen", ""),
        between=page.get("between", ""),
        affects=page.get("affects", ""),
    )
