"""Variables inside of the values of ``env``, as a Dockerfile's ENV has them.

``$NAME`` and ``${NAME}`` mean what the base, or the environment itself, sets, and nothing where
neither does; ``$$`` is a dollar. What else follows a dollar leaves it a dollar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .spec import Spec
from .yaml_document import KeyPath

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PART = re.compile(
    rf"\$\$|\$(?P<plain>{_NAME})|\$\{{(?P<braced>{_NAME})\}}|[^$]+|\$", re.ASCII | re.DOTALL
)
_OTHER_BRACES = re.compile(rf"\$\$|\$\{{{_NAME}\}}|(?P<other>\$\{{[^}}]*\}}?)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a value: plain ``text``, or the ``name`` of a variable."""

    text: str = ""
    name: str = ""


def parts_of(text: str) -> Iterator[Part]:
    """Take a value apart, neighbouring plain pieces joined."""
    plain = ""
    for match in _PART.finditer(text):
        name = match["plain"] or match["braced"]
        if name is None:
            plain += "$" if match[0] == "$$" else match[0]
            continue
        if plain:
            yield Part(text=plain)
        yield Part(name=name)
        plain = ""
    if plain:
        yield Part(text=plain)


def names_in(text: str) -> set[str]:
    """Return the names of the variables that a value names."""
    return {part.name for part in parts_of(text) if part.name}


def expanded(text: str, known: Mapping[str, str]) -> str:
    """Return a value with the ``known`` variables in their places; others are empty."""
    return "".join(known.get(part.name, "") if part.name else part.text for part in parts_of(text))


def variable_problems(spec: Spec) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield what ``env`` says in a shell's further forms: place, message, hint."""
    for name, text in spec.env.items():
        for match in _OTHER_BRACES.finditer(text):
            if match["other"] is not None:
                hint = "$NAME and ${NAME} are known, and $$ is a dollar"
                yield ("env", name), f"{match['other']!r} is not the name of a variable", hint
