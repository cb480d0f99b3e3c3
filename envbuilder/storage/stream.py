"""Blob streams: a writer that hashes what it writes, and a reader that checks what it reads."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest

from .temporary import Temporary, translated
from .verified import Stamp, Verified

# Bytes after which the disk is told to begin. One sync after a gigabyte would leave the disk idle
# first and the processor idle then; a sync in between would make the processor wait each time.
_BEGIN_EVERY = 16 << 20

REPAIR = "run `envbuilder cache repair`, which removes what is damaged; then build again"


class Writer:
    """A blob in the making: ``size`` bytes so far; ``commit`` names it by what was written."""

    def __init__(
        self,
        temporary: Temporary,
        file: BinaryIO,
        place: Callable[[Digest], Path],
        verified: Verified,
    ) -> None:
        self.size = 0
        self._verified = verified
        self._temporary = temporary
        self._file = file
        self._place = place
        self._hash = hashlib.sha256()
        self._begun = 0

    def write(self, data: bytes) -> None:
        """Append ``data``; raise BuildError if the disk is full."""
        self._hash.update(data)
        self.size += len(data)
        with translated(self._temporary.path.parent):
            self._file.write(data)
            if self.size - self._begun >= _BEGIN_EVERY:
                self._begin_writeback()

    def _begin_writeback(self) -> None:
        self._file.flush()
        length = self.size - self._begun
        # Linux starts to write these pages, without waiting; not yet clean, they stay cached.
        os.posix_fadvise(self._file.fileno(), self._begun, length, os.POSIX_FADV_DONTNEED)
        self._begun = self.size

    def commit(self, expected: Digest | None = None) -> Digest:
        """Make the blob permanent and return its digest.

        Raises BuildError if the content is not ``expected``; nothing is kept then.
        """
        digest = Digest(self._hash.hexdigest())
        if expected not in (None, digest):
            raise BuildError(f"expected {expected}, but the content is {digest}")
        with translated(self._temporary.path.parent):
            self._file.flush()
            self._temporary.keep_as(self._place(digest))
            self._verified.add(digest, Stamp.of(self._file.fileno()))
        return digest


class CheckedReader(io.RawIOBase):
    """A stream that hashes as it is read and raises BuildError at its end on a mismatch.

    So it does where the disk cannot read on.
    """

    def __init__(self, file: BinaryIO, digest: Digest) -> None:
        super().__init__()
        self._file = file
        self._digest = digest
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer``; 0 at the end, after the check."""
        try:
            count = self._file.readinto(buffer)  # type: ignore[attr-defined]
        except OSError as error:
            raise damaged(self._digest) from error
        self._hash.update(memoryview(buffer)[:count])
        if not count and len(buffer) and self._hash.hexdigest() != self._digest.hex:
            raise damaged(self._digest)
        return int(count)


def is_whole(file: BinaryIO, digest: Digest) -> bool:
    """Return whether an open blob holds what its name says; not so where the disk cannot read."""
    try:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest.hex  # type: ignore[arg-type]
    except OSError:
        return False


def damaged(digest: Digest) -> BuildError:
    """Return the error for a blob that holds other bytes than its name says, or none any more."""
    return BuildError(f"blob {digest} in the store is damaged", hint=REPAIR)
