"""The files that readers read: bounded, UTF-8, with errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envbuilder.model.errors import UsageError
from envbuilder.model.toml_text import TomlError, parse_toml

BY_HAND = 1 << 20
"""Bytes that a file may have which people write."""
BY_TOOL = 64 << 20
"""Bytes that a file may have which tools write, as uv.lock."""


def read_bytes(path: Path, *, limit: int = BY_HAND) -> bytes:
    """Read a file of at most ``limit`` bytes; raise UsageError with what is wrong with it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit:,} bytes, which no such file needs")
    return data


def read_text(path: Path, *, limit: int = BY_HAND) -> str:
    """Read a text file of at most ``limit`` bytes; raise UsageError with what is wrong with it."""
    data = read_bytes(path, limit=limit)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8: {error.reason} at byte {error.start}"
        raise UsageError(message, hint="name a text file, a folder or an image") from error
    if "\0" in text:
        raise UsageError(f"{path} is not a text file: it holds a NUL byte")
    return text


def lines_of(text: str) -> list[str]:
    """Split at line feeds alone, as formats do that know no other end of a line.

    ``str.splitlines`` also splits at form feeds, U+2028 and their like. A carriage return before a
    line feed goes with it.
    """
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def read_toml(path: Path, *, limit: int = BY_HAND) -> dict[str, Any]:
    """Read a TOML file; raise UsageError with the place if it is none."""
    try:
        return parse_toml(read_text(path, limit=limit))
    except TomlError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
