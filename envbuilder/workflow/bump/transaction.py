"""Several files beside a spec change all together or not at all, whatever is killed when.

``.NAME.bump`` is lock and journal in one. Whoever holds it (flock, so kill -9 frees it) may change
the files. New contents are written into it whole, with a checksum, and synced, before the first
file is touched: from then on the change counts, and whoever comes next finishes it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envbuilder.model.atomic import write_text
from envbuilder.model.errors import BuildError, DiskFullError, LockError, UsageError
from envbuilder.model.image import canonical_json
from envbuilder.model.pylock import lock_path
from envbuilder.model.reference import Digest
from envbuilder.storage.build_records import BuildTexts, present
from envbuilder.storage.ledger import LedgerEntry, append_new, dump_entry, ledger_path, parse_entry

_BEGUN = "the next command finishes what was begun"


class Transaction:
    """The right to change one environment's files; made by :func:`transaction` only."""

    def __init__(self, spec_path: Path, journal: int) -> None:
        self._spec_path = spec_path
        self._journal = journal

    def commit(self, texts: BuildTexts, *, entry: LedgerEntry, over: BuildTexts) -> None:
        """Replace the spec and locks ``over`` by ``texts`` and append ``entry`` to the ledger.

        Raises LockError if other texts than ``over`` lie there now, and BuildError if the
        disk does not take the new ones; what then is half-way is finished by whoever comes next.
        """
        if present(self._spec_path) != over:
            raise LockError(
                f"{self._spec_path} or its lock changed meanwhile, and stays as it is now",
                hint="run the command again",
            )
        record = {
            "spec": texts.spec.decode(),
            "lock": texts.lock.decode(),
            "further": {each: text.decode() for each, text in texts.further.items()},
            "entry": dump_entry(entry).decode(),
        }
        body = canonical_json(record)
        with _translated(self._spec_path, "nothing was changed"):
            _write_whole(self._journal, Digest.of(body).hex.encode() + b"\n" + body)
        _apply(self._spec_path, record)
        os.ftruncate(self._journal, 0)


@contextmanager
def transaction(spec_path: Path) -> Iterator[Transaction]:
    """Hold the right to change the environment of ``spec_path``; finish what was left undone.

    Raises UsageError if another process holds it, BuildError if nothing can be written.
    """
    path = _journal_path(spec_path)
    with _translated(spec_path, "nothing was changed"):
        handle = _hold(path, spec_path.stem)
    try:
        _finish(spec_path, handle)
        yield Transaction(spec_path, handle)
    finally:
        if os.fstat(handle).st_size == 0:  # else it holds a change that is still to be finished
            path.unlink(missing_ok=True)
        os.close(handle)


def finish(spec_path: Path) -> bool:
    """Finish a change that was killed half-way, if there is one; say whether there was.

    Every command calls this before it reads a spec. It only ever waits for another process that
    is writing just now. Raises BuildError if the files cannot be written.
    """
    path = _journal_path(spec_path)
    with _translated(spec_path, _BEGUN):
        try:
            if path.stat().st_size == 0:
                return False
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not _is_at(path, handle):
            return False  # its holder came to the end meanwhile
        found = _finish(spec_path, handle)
        path.unlink()
        return found
    finally:
        os.close(handle)


def _write_whole(handle: int, data: bytes) -> None:
    """Write ``data`` as all that the file holds, or leave it empty."""
    try:
        os.ftruncate(handle, 0)
        written = 0
        while written < len(data):
            written += os.pwrite(handle, data[written:], written)
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, 0)
        raise


def _journal_path(spec_path: Path) -> Path:
    return spec_path.with_name(f".{spec_path.stem}.bump")


def _hold(path: Path, name: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise UsageError(
                f"another bump or rollback of {name} is under way ({path} is held)",
                hint="wait for it, or end it; it leaves everything as it was",
            ) from error
        if _is_at(path, handle):
            return handle
        os.close(handle)  # its holder removed it between our open and our lock


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _finish(spec_path: Path, handle: int) -> bool:
    """Apply what the journal holds whole; a torn journal means that nothing was touched yet."""
    checksum, _, body = os.pread(handle, os.fstat(handle).st_size, 0).partition(b"\n")
    whole = bool(body) and Digest.of(body).hex.encode() == checksum
    if whole:
        _apply(spec_path, json.loads(body))
    os.ftruncate(handle, 0)
    return whole


def _apply(spec_path: Path, record: Mapping[str, Any]) -> None:
    """Write the files; doing it twice is doing it once."""
    line, ledger = record["entry"].encode(), ledger_path(spec_path)
    with _translated(spec_path, _BEGUN):
        write_text(spec_path, record["spec"])
        write_text(lock_path(spec_path), record["lock"])
        for platform, text in record.get("further", {}).items():
            write_text(lock_path(spec_path, platform), text)
        # Its other lines may be anything by now: what was begun is finished all the same.
        append_new(ledger, parse_entry(line))


@contextmanager
def _translated(spec_path: Path, then: str) -> Iterator[None]:
    """Turn the disk's refusals into BuildError; its hint ends with what became of the change."""
    try:
        yield
    except OSError as error:
        message = f"cannot write the files of {spec_path.stem}: {error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(message, hint=f"make room; {then}") from error
        hint = f"check {spec_path.parent} and its permissions; {then}"
        raise BuildError(message, hint=hint) from error
