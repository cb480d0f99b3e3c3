"""Samples changed at random: their bytes, and the values of documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

TOKENS = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\r\n", b"../", b"/", b"'", b'"', b"{", b"}", b"[", b"]",
    b"-1", b"0", b"1e999", b"9" * 400, b"NaN", b"null", b"true", b"%s", b"\\ud800", b"\x1b[31m",
    b"!!python/object:x {}", b"sha256:", b"\xe2\x80\xae", b"A" * 5000, b"[" * 5000, b"{" * 5000,
    b"<a href='", b"- " * 2000, b"\n \n", b"..", b"~", b"${HOME}", b"&a *a", b"=", b":", b";",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 63, 1 << 64, 10**30, 0.5, "", "x", "\0", "\ud800", "../../etc/passwd",
    [], {}, [None], {"": None}, "sha256:" + "0" * 64, "sha256:x", "x" * 5000, ["x"] * 300, "1.0",
    "http://[", "\x1b[2J", "https://user:pass@example.com/", "2025-13-40T99:99:99Z",
    "9999-12-31T23:59:59Z", "\u202e", "-",
)  # fmt: skip

GROWN = 300_000
"""Bytes that a piece grows into."""


def mutated(sample: bytes, random: Random) -> bytes:
    """Return ``sample`` with one to eight changes to its bytes, or to its values if it is JSON.

    One in fifty grows a piece of itself into 300 kB, for what takes the square of its length.
    """
    if random.random() < 0.5 and (document := _document(sample)) is not None:
        for _ in range(random.randint(1, 3)):
            document = _changed(document, random)
        return json.dumps(document).encode()
    data = bytearray(sample)
    if random.random() < 0.02:
        _grow(data, random)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        random.choice(_CHANGES)(data, random)
    return bytes(data)


def _document(sample: bytes) -> Any:
    try:
        found = json.loads(sample)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _changed(document: Any, random: Random) -> Any:
    """Return the document with one value replaced, doubled, wrapped, renamed or taken out."""
    if not isinstance(document, dict | list) or not document or random.random() < 0.15:
        return random.choice((*VALUES, [document], {"x": document}))
    keys = list(document) if isinstance(document, dict) else range(len(document))
    key = random.choice(keys)
    copy: Any = document.copy()
    act = random.random()
    if act < 0.1:
        del copy[key]
    elif act < 0.2 and isinstance(copy, dict):
        copy[random.choice(("", "x", "\0", key + " ", "__proto__"))] = copy[key]
    elif act < 0.3 and isinstance(copy, list):
        copy.append(copy[key])
    else:
        copy[key] = _changed(copy[key], random)
    return copy


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(data: bytearray, random: Random) -> None:
    start, end = _span(data, random)
    del data[start:end]


def _double(data: bytearray, random: Random) -> None:
    start, end = _span(data, random)
    data[start:start] = data[start:end] * random.choice((1, 1, 2, 50))


def _grow(data: bytearray, random: Random) -> None:
    start, end = _span(data, random)
    piece = data[start:end] or b"x"
    data[end:end] = piece * (GROWN // len(piece))


def _move(data: bytearray, random: Random) -> None:
    start, end = _span(data, random)
    piece = data[start:end]
    del data[start:end]
    at = random.randrange(len(data) + 1)
    data[at:at] = piece


def _token(data: bytearray, random: Random) -> None:
    start, end = _span(data, random)
    data[start : random.choice((start, end))] = random.choice(TOKENS)


def _shorten(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


def _span(data: bytearray, random: Random) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.choice((1, 2, 4, 16, 64, 512)))


_CHANGES: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip, _flip, _cut, _double, _move, _token, _token, _shorten,
)  # fmt: skip
