"""Every step of a bisection on disk, one line each, so that a killed one resumes where it was.

A step's key is what was tested (the lock's checksum) under the question that was asked; asked
again, it is answered from the journal. What could not be made is a skip in this run only: the next
one tries it again, since the reason may be gone by then.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from envbuilder.model.codec import MisfitError, from_json, to_plain
from envbuilder.model.errors import (
    BuildError,
    DiskFullError,
    ResolutionError,
    SmokeError,
    UsageError,
)
from envbuilder.model.image import canonical_json
from envbuilder.model.lock import Lock
from envbuilder.model.owner import give, make_folder
from envbuilder.model.progress import Progress
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from .oracle import Judge, OracleAnswer
from .search import TrialResult


class Trial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test: what was tried, what came of it, and how long it took (seconds)."""

    tried: str
    outcome: TrialResult
    detail: str
    seconds: float


class _Line(Trial, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trial as it is written down, under the key of what was tested."""

    key: str


def journal_path(store: Store, old: Lock, new: Lock, question: Sequence[str | None]) -> Path:
    """Name the file of a bisection by its two ends and what is asked of each lock."""
    asked = [str(lock_checksum(old)), str(lock_checksum(new)), *question]
    key = Digest.of(canonical_json(asked)).hex[:16]
    return store.root / "bisect" / f"{new.spec.name}-{key}.jsonl"


class Journal:
    """The steps so far, by key; made by :meth:`open`, which also keeps rivals out."""

    def __init__(self, handle: int, progress: Progress) -> None:
        self._handle = handle
        self._progress = progress
        self._steps: dict[str, Trial] = {}
        self.asked: dict[str, Trial] = {}
        """The steps that this run needed, remembered ones included, in order."""

    @classmethod
    def open(cls, path: Path, progress: Progress, *, fresh: bool = False) -> Journal:
        """Open the journal at ``path``, or a ``fresh`` one in its place.

        Raises UsageError if another bisection writes it.
        """
        make_folder(path.parent, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        give(path, fd=handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise UsageError(
                "this very bisection is under way already", hint="wait for it, or end it"
            ) from error
        if fresh:
            os.ftruncate(handle, 0)
        journal = cls(handle, progress)
        journal._read()
        return journal

    def close(self) -> None:
        """Let the file go."""
        os.close(self._handle)

    def ask(self, tried: str, lock: Lock, judge: Judge) -> Trial:
        """Answer from memory, or judge ``lock`` and write the answer down."""
        key = str(lock_checksum(lock))
        return self.remember(tried, key, lambda: judge(lock))

    def remember(self, tried: str, key: str, answer: Callable[[], OracleAnswer]) -> Trial:
        """Answer what ``key`` stands for from memory, or write ``answer`` down.

        What cannot be resolved, built or started is a skip. A full disk ends it all, as other
        failures do: nothing that follows could be judged.
        """
        if key not in self._steps:
            started = time.monotonic()
            try:
                verdict, lasts = answer(), True
            except DiskFullError:
                raise
            except (ResolutionError, BuildError, SmokeError) as error:
                verdict, lasts = OracleAnswer(outcome=TrialResult.SKIP, detail=error.brief), False
                if error.message != error.brief:
                    self._progress.note(error.message)
            step = Trial(
                tried=tried,
                outcome=verdict.outcome,
                detail=verdict.detail,
                seconds=round(time.monotonic() - started, 2),
            )
            self._steps[key] = step
            if lasts:
                self._write(key, step)
        step = self._steps[key]
        if key not in self.asked:
            self.asked[key] = step
            self._progress.note(f"{step.outcome:<5} {step.tried}  ({step.detail})")
        return step

    def _read(self) -> None:
        data = os.pread(self._handle, os.fstat(self._handle).st_size, 0)
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self._handle, len(whole))  # what was killed in mid-line never counted
        for line in whole.splitlines():
            with suppress(MisfitError):  # damaged, or of an older version: it is tried again
                read = from_json(line, _Line)
                self._steps[read.key] = _trial(read)

    def _write(self, key: str, step: Trial) -> None:
        line = canonical_json({"key": key, **to_plain(step)}) + b"\n"
        os.write(self._handle, line)
        os.fsync(self._handle)


def _trial(line: _Line) -> Trial:
    return Trial(tried=line.tried, outcome=line.outcome, detail=line.detail, seconds=line.seconds)
