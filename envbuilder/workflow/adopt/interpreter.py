"""Which Python: what the source says, else one that a base has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from .statements import Setting, Statement

_USUAL = ("3.11", "3.13", "3.12", "3.10", "3.9")
"""Debian's own first: bookworm's, trixie's; then those that official Python images have."""
_EXACT = re.compile(r"(3\.\d{1,2})(\.\d{1,2})?")


def choose_python(statements: Iterable[Statement], said: str | None) -> tuple[str, str, str]:
    """Return the Python, where it comes from, and what speaks against it, if anything does."""
    found = [
        (str(fact.value), each.at.place)
        for each in statements
        for fact in each.facts
        if isinstance(fact, Setting) and fact.path == ("python",)
    ]
    exact = [(value, place) for value, place in found if _EXACT.fullmatch(value)]
    ranges = [(value, place) for value, place in found if not _EXACT.fullmatch(value)]
    if said is not None:
        return said, "--python", _against(said, ranges)
    if exact:
        value, place = exact[-1]
        minor = ".".join(value.split(".")[:2])
        return minor, place, _against(minor, ranges)
    fits = [each for each in _USUAL if not _against(each, ranges)]
    if ranges and fits:
        return fits[0], ranges[-1][1], ""
    return _USUAL[0], "the source does not say it", _against(_USUAL[0], ranges)


def _against(minor: str, ranges: Sequence[tuple[str, str]]) -> str:
    for text, place in ranges:
        try:
            allowed = SpecifierSet(text)
        except InvalidSpecifier:
            return f"{place}: {text!r} is not a range of versions"
        if not any(allowed.contains(f"{minor}.{patch}") for patch in range(30)):
            return f"{place} asks for Python {text}"
    return ""
