"""The blobs that a folder holds, as files named by their SHA-256."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.reference import Digest

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A blob in the store: its size in bytes and when it was last used (seconds since 1970)."""

    digest: Digest
    size: int
    used: float


def list_blobs(folder: Path) -> list[Blob]:
    """List the blobs in ``folder``, sorted by digest; none where there is no such folder."""
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for name in (entry.name for entry in entries if _HEX.fullmatch(entry.name)):
            with suppress(FileNotFoundError):  # a build beside us needs it no longer
                found.append(_blob(folder / name))
    return sorted(found, key=lambda blob: blob.digest)


def _blob(path: Path) -> Blob:
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise
    except OSError:  # the disk cannot say, as a look at its content will
        return Blob(digest=Digest(path.name), size=0, used=0)
    return Blob(digest=Digest(path.name), size=facts.st_size, used=facts.st_mtime)
