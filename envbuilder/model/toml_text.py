"""TOML of unknown make, read in a time and a memory that its size explains.

``tomllib`` looks up every beginning of a dotted key, so that 39 kB of ``a.a.a… = 1`` take it seven
seconds, and keeps a kilobyte for each table. Its errors have three types. Here is one.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

PARTS = 50
"""Names in one key, between dots; honest ones have up to ten."""
TABLES = 200_000
"""Tables, arrays and dots of one document; a lock of 5 MB has 60,000."""
WORD = 1000
"""Characters of a number or a bare name: what is longer could not even be shown in decimal."""

_BARE = rf"[A-Za-z0-9_-]{{1,{WORD}}}+(?![A-Za-z0-9_-])"
_PART = rf"""(?:{_BARE}|"(?:[^"\\\n]|\\[^\n])*+"|'[^'\n]*+')"""
_DOT = r"[ \t]*+\.[ \t]*+"
_LONG_STRING = r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|\'\'\'(?:[^']|'{1,2}(?!'))*+'{3,5}'''
_NEXT = re.compile(
    rf"""(?:[^#"'\[{{A-Za-z0-9_-]++|\#[^\n]*+|{_LONG_STRING}|{_PART}(?!{_DOT}))*+"""
    rf"""(?:(?P<dotted>{_PART}(?:{_DOT}{_PART})++)|(?P<opening>[\[{{])"""
    rf"""|(?P<long>[A-Za-z0-9_-]{{{WORD + 1}}}))?""",
    re.DOTALL,
)
_DOTTED = re.compile(rf"{_PART}(?P<dot>{_DOT})?")


class TomlError(ValueError):
    """A text that is no TOML, or asks for more than any honest one does."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse ``text``; raise TomlError whatever is wrong with it."""
    _check(text)
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise TomlError("it is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError is one, and so is that of a number too long
        raise TomlError(str(error)) from error


def _check(text: str) -> None:
    """Raise TomlError for what would take too long; stop silently where ``text`` is no TOML."""
    left = TABLES
    at = 0
    while (found := _NEXT.match(text, at)) and found.lastgroup:
        if found["long"]:
            raise _refused(text, found.start("long"), f"a word of more than {WORD} characters")
        dots = sum(bool(part["dot"]) for part in _DOTTED.finditer(found["dotted"] or ""))
        if dots >= PARTS:
            raise _refused(text, found.start("dotted"), f"a key of more than {PARTS} parts")
        left -= dots or 1
        if left < 0:
            raise TomlError(f"it has more than {TABLES:,} tables and arrays")
        at = found.end()


def _refused(text: str, at: int, what: str) -> TomlError:
    line = text.count("\n", 0, at) + 1
    return TomlError(f"line {line} has {what}, which none needs")
