"""What a user asks to bump, read from the command line: pure text to values.

``NAME==4.53.3`` (any specifier), ``NAME`` (newest that resolves), ``NAME@REF`` (commit, tag or
branch), ``python=3.12``, ``base=IMAGE``, ``base``, ``system``, ``exclude-newer=MOMENT``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from envbuilder.model.errors import UsageError
from envbuilder.model.spec import Spec

SYSTEM = "system"
BASE = "base"
SETTINGS = {"python": ("python",), "exclude-newer": ("index", "exclude_newer")}
"""Pins that set one scalar of the spec: name -> where it stands."""
HINT = "NAME==VERSION, NAME, NAME@COMMIT, python=3.12, base=IMAGE, base or system"
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*"
    r"(?:@(?P<ref>[A-Za-z0-9_][A-Za-z0-9_./+-]*)|(?P<specifier>[=<>!~].*))?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One wish: ``name`` and at most one of a specifier, a git ref, and a plain value."""

    name: str
    specifier: str | None = None
    ref: str | None = None
    value: str | None = None


def parse_pin(text: str) -> Pin:
    """Read one PIN of the command line; raises UsageError."""
    name, equals, value = text.partition("=")
    if equals and not value.startswith("=") and name in {*SETTINGS, BASE}:
        if not value:
            raise UsageError(f"{text!r}: expected a value behind =", hint=HINT)
        return Pin(name=name, value=value)
    match = _PIN.fullmatch(text)
    if match is None or name in SETTINGS:
        raise UsageError(f"{text!r} is not a pin", hint=HINT)
    specifier = match["specifier"]
    if specifier is not None and not _is_specifier(specifier):
        one = re.fullmatch(r"=[^=].*", specifier) is not None
        hint = f"did you mean {match['name']}={specifier}?" if one else HINT
        raise UsageError(f"{text!r}: {specifier!r} is not a version specifier", hint=hint)
    return Pin(name=canonicalize_name(match["name"]), specifier=specifier, ref=match["ref"])


def all_pins(spec: Spec) -> list[Pin]:
    """List the pins that ``--all`` stands for: all packages that can move, and the system."""
    names = [str(canonicalize_name(each.name)) for each in spec.requirements]
    names += [name for name, pin in spec.sources.items() if pin.branch is not None]
    return [*(Pin(name=name) for name in names), Pin(name=SYSTEM)]


def _is_specifier(text: str) -> bool:
    try:
        return all(each.version for each in SpecifierSet(text))
    except InvalidSpecifier:
        return False
