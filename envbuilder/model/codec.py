"""Decode our own texts strictly into typed values, and encode those: one place for all formats.

An error says the place in the document, what was expected there and what was found.
"""

from __future__ import annotations

import inspect
import json
import re
from threading import RLock
from typing import Any, TypeVar

import msgspec

from .errors import UsageError
from .reference import Digest

T = TypeVar("T")

_ONE_AT_A_TIME = RLock()
"""msgspec 0.22 learns a type at its first use, and crashes if two threads do that at once."""

_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)
_WORDS = (
    (re.compile(r"Expected `(.*)`, got `(.*)`"), r"expected \1, found \2"),
    (re.compile(r"Object missing required field `(.*)`"), r"lacks \1"),
    (re.compile(r"Object contains unknown field `(.*)`"), r"has an unknown key \1"),
)


class MisfitError(ValueError):
    """A document that is not what was expected; the message begins with the place."""


def convert(value: object, kind: Any) -> Any:  # noqa: ANN401 (any type)
    """Turn plain ``value`` into ``kind``; raise what msgspec raises. Safe in several threads."""
    with _ONE_AT_A_TIME:
        return msgspec.convert(value, kind, dec_hook=_decode)


def json_schema(kind: type) -> dict[str, Any]:
    """Return the JSON schema of ``kind``; msgspec before 0.23 leaves descriptions indented."""
    with _ONE_AT_A_TIME:
        found: dict[str, Any] = msgspec.json.schema(kind)
    for each in found["$defs"].values():
        each["description"] = inspect.cleandoc(each["description"])
    return found


def from_plain(value: object, kind: type[T], *, place: str = "") -> T:
    """Turn JSON's or TOML's types into ``kind``; raise MisfitError for what does not fit.

    ``place`` is where ``value`` stands in its document.
    """
    try:
        found: T = convert(value, kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MisfitError(_in_words(error, place)) from error
    return found


def from_json(text: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Decode JSON into ``kind``; raise MisfitError for what does not fit, or is no JSON."""
    try:
        with _ONE_AT_A_TIME:
            return msgspec.json.decode(text, type=kind, dec_hook=_decode)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MisfitError(_in_words(error)) from error


def any_json(text: bytes | str) -> Any:  # noqa: ANN401 (any document)
    """Parse JSON that anybody may have written; raise MisfitError whatever is wrong with it.

    Python's own reader also raises RecursionError, which is easily forgotten.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise MisfitError("it is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits, too
        raise MisfitError(str(error)) from error


def to_plain(value: object) -> Any:  # noqa: ANN401 (any document)
    """Turn ``value`` into JSON's types; a digest becomes ``sha256:HEX``."""
    return msgspec.to_builtins(value, enc_hook=_encode)


def to_json(value: object) -> bytes:
    """Encode ``value`` as JSON; equal values give equal bytes."""
    return msgspec.json.encode(value, enc_hook=_encode, order="deterministic")


def _decode(kind: type, value: object) -> object:
    if kind is not Digest:
        raise NotImplementedError(kind)
    if not isinstance(value, str):
        raise TypeError(f"expected a digest, found {type(value).__name__}")
    try:
        return Digest.parse(value)
    except UsageError as error:
        raise ValueError(error.message) from error


def _encode(value: object) -> object:
    if isinstance(value, Digest):
        return str(value)
    raise NotImplementedError(type(value))


def _in_words(error: Exception, above: str = "") -> str:
    found = _AT.fullmatch(str(error))
    what, place = (found["what"], found["place"] or "") if found else (str(error), "")
    for pattern, words in _WORDS:
        what = pattern.sub(words, what)
    joint = "" if place.startswith("[") else "."
    place = joint.join(part for part in (above, place) if part)
    return f"{place}: {what}" if place else what
