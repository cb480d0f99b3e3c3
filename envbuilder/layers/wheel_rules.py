"""Which names a wheel may use: one table for its members, one for its scripts, one for its paths.

A name that one program takes for a file and another for something else is refused: in a layer
``.wh.x`` deletes x (image-spec, "Whiteouts"), in a RECORD a line break ends the row, on a terminal
an escape sequence writes over what was said. Names are compared as they are, in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .bounds import DEPTH

Rule = tuple[Callable[[str], object], str]
"""What is wrong with a name: a test that is true of it, and what to say."""

ENTRY_POINTS = 2000
"""Scripts of one wheel; the largest have a few dozen."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Nearly every name is like this one and breaks no rule: one look instead of many.
_PLAIN = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}/){0,20}[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}/?"
)
_PART = 255  # bytes of one part of a path, on every file system of Linux


def _parts(name: str) -> list[str]:
    return name.removesuffix("/").split("/")


MEMBER_RULES: tuple[Rule, ...] = (
    (lambda name: "\0" in name, "has a NUL in its name"),
    (_CONTROL.search, "has a control character in its name"),
    (lambda name: name.startswith("/"), "has an absolute path"),
    (lambda name: ".." in _parts(name), "climbs out of the wheel"),
    (lambda name: not {"", "."}.isdisjoint(_parts(name)), "has an empty or a dot part in its path"),
    (
        lambda name: ".wh." in name and any(part.startswith(".wh.") for part in _parts(name)),
        "has a name that deletes files in a layer (.wh.)",
    ),
    (
        lambda name: (
            len(name) * 4 > _PART and any(len(part.encode()) > _PART for part in _parts(name))
        ),
        f"has a part of more than {_PART} bytes in its path",
    ),
    (lambda name: name.count("/") > DEPTH, f"lies more than {DEPTH} folders deep"),
)

SCRIPT_RULES: tuple[Rule, ...] = (
    (_CONTROL.search, "which has a control character"),
    (lambda name: "/" in name or "\\" in name, "which has a separator of paths"),
    (lambda name: name in {"", ".", ".."}, "which names no file"),
    (lambda name: name.startswith(".wh."), "which deletes files in a layer"),
    (lambda name: len(name.encode()) > _PART, f"which has more than {_PART} bytes"),
    (
        re.compile(r"python|pythonw|python3(\.\d+)?").fullmatch,
        "which is the environment's interpreter",
    ),
)

PATH_RULES: tuple[Rule, ...] = (
    (
        re.compile(r"bin/(python|python3(\.\d+)?)/?").fullmatch,
        "replaces the environment's interpreter",
    ),
    (re.compile(r"pyvenv\.cfg/?").fullmatch, "replaces the environment's settings"),
    (re.compile(r"lib|lib64|bin|include").fullmatch, "replaces a folder of the environment"),
)
"""Of paths relative to the environment, directories with a slash at their end."""


def broken_member(name: str) -> str:
    """Return what is wrong with a member's name, or nothing."""
    return "" if _PLAIN.fullmatch(name) else broken(MEMBER_RULES, name)


def broken(rules: tuple[Rule, ...], name: str) -> str:
    """Return what is wrong with ``name`` by the first of ``rules`` that it breaks, or nothing."""
    for test, why in rules:
        if test(name):
            return why
    return ""
