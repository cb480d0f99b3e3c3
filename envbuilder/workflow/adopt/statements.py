"""What readers say of a source, statement by statement, whatever kind of source it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from envbuilder.model.errors import without_login
from envbuilder.model.yaml_document import KeyPath

Role = Literal["packages", "constraints", "overrides"]
_LONGEST = 160  # characters of a statement that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value of the spec that is to come: ``("env", "HF_HOME")`` and its text."""

    path: KeyPath
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A package as a requirement without an address (PEP 508), and where it comes from.

    ``index`` is the address of the one index that has it; ``source`` says a table of the spec
    (``git``, ``url``, ``path``) in the place of a version. It is not wanted where one of the
    markers ``unless`` holds.
    """

    requirement: str
    role: Role = "packages"
    index: str | None = None
    source: Mapping[str, str] = field(default_factory=dict)
    unless: tuple[str, ...] = ()


Fact = Setting | Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Where a statement stands, and its text; logins in addresses are never shown."""

    place: str
    text: str

    @property
    def shown(self) -> str:
        """The text in one line of bounded length."""
        line = " ".join(without_login(self.text).split())
        line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a source says in one place: the facts that a spec can hold, and what it cannot.

    ``left`` is why something of it does not come in. ``note`` is what one should know of what does.
    """

    at: At
    facts: tuple[Fact, ...] = ()
    left: str = ""
    note: str = ""


def taken(at: At, *facts: Fact, note: str = "") -> Statement:
    """Return a statement that comes in wholly; without facts it asks for what is done anyway."""
    return Statement(at=at, facts=facts, note=note)


def left(at: At, why: str) -> Statement:
    """Return a statement that does not come in."""
    return Statement(at=at, left=why)


def joined(at: At, parts: Iterable[Statement]) -> Statement:
    """Return as one statement what ``parts`` say of the same place."""
    parts = list(parts)
    return Statement(
        at=at,
        facts=tuple(fact for each in parts for fact in each.facts),
        left="; ".join(dict.fromkeys(each.left for each in parts if each.left)),
        note="; ".join(dict.fromkeys(each.note for each in parts if each.note)),
    )
