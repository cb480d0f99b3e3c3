"""The ledger of one environment: every build ever made of it, one JSON line each, append-only.

``NAME.ledger.jsonl`` lies beside the spec and belongs into git: it says which lock was known to be
good, on which host, and under which image digest.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from msgspec import Struct

from envbuilder.model.codec import MisfitError, from_json, to_plain
from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.image import canonical_json
from envbuilder.model.owner import give, make_folder
from envbuilder.model.reference import Digest

_NUMBER_DIGITS = 5  # "12345" is an entry's number; six digits and more start a checksum


class BuildHost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a build was smoked; empty texts where the host has no such thing."""

    kernel: str = ""
    runtime: str = ""
    gpu: str = ""
    driver: str = ""


class LedgerEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One build: ``time`` is RFC 3339 in UTC, ``smoke`` the report's summary in one line.

    ``spec`` and ``lock`` are ``lock.spec_checksum`` and ``pylock.lock_checksum``; ``image`` is
    the manifest's digest. ``note`` says more, for example the tag that a promotion moved.
    """

    time: str
    spec: Digest
    lock: Digest
    image: Digest
    engine: str
    good: bool
    smoke: str = ""
    host: BuildHost = BuildHost()
    event: Literal["build", "promote", "rollback"] = "build"
    note: str = ""


def ledger_path(spec_path: Path) -> Path:
    """Name the ledger that belongs to a spec: ``NAME.ledger.jsonl`` beside ``NAME.yaml``."""
    return spec_path.with_name(f"{spec_path.stem}.ledger.jsonl")


def now() -> str:
    """Return this moment as the ledger writes it, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def append(path: Path, entry: LedgerEntry) -> None:
    """Add ``entry`` and return once it is on disk; several processes may append at once.

    What a killed writer left of a line is cut off first: it never counted.
    """
    make_folder(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (data := file.readall()):  # a new one
            give(path, fd=handle)
        whole, tail = _split(data)
        line = dump_entry(entry)
        if tail and _is_entry(tail):  # an editor took the last newline away
            line = b"\n" + line
        elif tail:
            file.truncate(len(whole))
        _write_all(file.fileno(), line)
        os.fsync(file.fileno())


def append_new(path: Path, entry: LedgerEntry) -> None:
    """Add ``entry`` unless the very same line is there: who was killed after it comes again."""
    known = path.read_bytes().splitlines(keepends=True) if path.exists() else ()
    if dump_entry(entry) not in known:
        append(path, entry)


def read(path: Path) -> tuple[tuple[LedgerEntry, ...], bool]:
    """Read all entries, oldest first, and whether the last line was torn by a killed writer.

    No ledger is an empty one. Raises LockError if a whole line is no entry.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return (), False
    except OSError as error:
        raise LockError(f"cannot read {path}: {error.strerror}") from error
    whole, tail = _split(data)
    entries = [
        parse_entry(line, name=f"{path}:{number}")
        for number, line in enumerate(whole.splitlines(), start=1)
        if line.strip()
    ]
    torn = bool(tail.strip()) and not _is_entry(tail)
    if tail.strip() and not torn:
        entries.append(parse_entry(tail))
    return tuple(entries), torn


def choose(entries: Sequence[LedgerEntry], text: str) -> LedgerEntry:
    """Find the one entry that ``text`` means: its number (1 is the oldest) or a checksum's start.

    The checksum may be the image's or the lock's, with or without ``sha256:``; of several entries
    with it the latest counts. Raises UsageError.
    """
    hint = "envbuilder history NAME lists the entries"
    if text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS:
        if not 1 <= int(text) <= len(entries):
            raise UsageError(f"there is no entry {text}: the ledger has {len(entries)}", hint=hint)
        return entries[int(text) - 1]
    start = text.removeprefix("sha256:")
    found = [
        entry
        for entry in entries
        if start and (entry.image.hex.startswith(start) or entry.lock.hex.startswith(start))
    ]
    if not found:
        raise UsageError(f"no entry of the ledger has an image or lock {text!r}", hint=hint)
    if len({(e.image, e.lock) for e in found}) > 1:
        raise UsageError(f"{text!r} is the start of several checksums in the ledger", hint=hint)
    return found[-1]


def newest_result(entries: Iterable[LedgerEntry]) -> LedgerEntry | None:
    """Return the latest of ``entries`` that tells of a smoke: the newest result decides."""
    builds = [entry for entry in entries if entry.event == "build"]
    return builds[-1] if builds else None


def why_red(entries: Sequence[LedgerEntry], entry: LedgerEntry) -> str:
    """Say why ``entry`` is not known to be good; nothing if it is.

    It is if it is green itself, and so is the newest result of its image in all ``entries``.
    """
    newest = newest_result(each for each in entries if each.image == entry.image)
    if newest is None:
        return "the ledger has no smoke of its image"
    if not entry.good:
        return entry.smoke or "its smoke was red"
    if not newest.good:
        return f"the newest smoke of its image, of {newest.time}, says: {newest.smoke}"
    return ""


def last_good(
    entries: Sequence[LedgerEntry], among: Sequence[LedgerEntry] | None = None
) -> LedgerEntry | None:
    """Return the latest build that is good by all ``entries``, or the one gone back to since then.

    It is one of ``among``, if those are given.
    """
    lines = reversed(entries if among is None else among)
    stood = (entry for entry in lines if entry.event != "promote")
    return next((entry for entry in stood if not why_red(entries, entry)), None)


def good_now(entries: Sequence[LedgerEntry], lock: Digest | None) -> LedgerEntry | None:
    """Return the latest good entry of ``lock``, the present one; without one :func:`last_good`."""
    of_lock = [entry for entry in entries if entry.lock == lock]
    return last_good(entries, of_lock) or last_good(entries)


def promoted_tags(entries: Iterable[LedgerEntry]) -> dict[str, LedgerEntry]:
    """Return the last promotion of each tag, the newest last: what the tag named before is past."""
    found: dict[str, LedgerEntry] = {}
    for entry in entries:
        if entry.event == "promote":
            tag = entry.note.removeprefix("as ")
            found.pop(tag, None)
            found[tag] = entry
    return found


def built_on(entries: Sequence[LedgerEntry], images: Collection[Digest]) -> str | None:
    """Return the moment (RFC 3339) of the first build of one of ``images``; None without one."""
    return next((e.time for e in entries if e.event == "build" and e.image in images), None)


def dump_entry(entry: LedgerEntry) -> bytes:
    """Return the entry's line, newline included."""
    return canonical_json(to_plain(entry)) + b"\n"


def parse_entry(line: bytes, *, name: str = "entry") -> LedgerEntry:
    """Parse one line; ``name`` is how errors call it. Raises LockError."""
    try:
        return from_json(line, LedgerEntry)
    except MisfitError as error:
        raise LockError(
            f"{name} is not a ledger entry: {error}",
            hint="restore the file from git; the ledger is only ever appended to",
        ) from error


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Part whole lines from what stands after the last newline."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _is_entry(line: bytes) -> bool:
    try:
        parse_entry(line)
    except LockError:
        return False
    return True


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
