"""The text of a record: what was derived, of what, under its own checksum.

A record decides which layer goes into an image, so a single changed byte must not count. Whatever
does not fit (a changed field, another schema, a torn or an older file, a value of another type) is
no record: what it said is derived again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from msgspec import Raw, Struct

from envbuilder.model.codec import MisfitError, from_json, to_json
from envbuilder.model.reference import Digest

T = TypeVar("T")

SCHEMA = 2
"""Raise it whenever records are written in another form. The first form had no checksum."""


class Record(Struct, Generic[T], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``value`` is what ``kind`` says of ``key``, as long as ``blobs`` are in the store."""

    kind: str
    key: str
    value: T
    blobs: tuple[Digest, ...] = ()


class _Sealed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: int
    checksum: Digest
    record: Raw


def dump_record(record: Record[Any]) -> bytes:
    """Return the record's text."""
    body = to_json(record)
    return to_json(_Sealed(schema=SCHEMA, checksum=Digest.of(body), record=Raw(body))) + b"\n"


def parse_record(text: bytes, kind: type[T]) -> Record[T] | None:
    """Read a record whose value is a ``kind``; None for whatever does not fit."""
    try:
        sealed = from_json(text, _Sealed)
        if sealed.schema != SCHEMA or Digest.of(bytes(sealed.record)) != sealed.checksum:
            return None
        typed = cast("Any", Record)[kind]  # known at run time only
        return cast("Record[T]", from_json(sealed.record, typed))
    except MisfitError:
        return None


def record_path(folder: Path, kind: str, key: str) -> Path:
    """Name the file of a record, there or not."""
    return folder / kind / f"{Digest.of(key.encode()).hex}.json"


def read_record(folder: Path, path: Path, kind: type[T]) -> Record[T] | None:
    """Read a record's file in ``folder``; None for one that does not fit, or lies elsewhere.

    None as well for one that the disk cannot read. Raises PermissionError if we may not.
    """
    try:
        found = parse_record(path.read_bytes(), kind)
    except PermissionError:
        raise
    except OSError:
        return None
    if found is None or record_path(folder, found.kind, found.key) != path:
        return None
    return found
