"""What a start needs of its image: ``NAME.start.json`` beside the spec, kept in git.

The smoke records which files the imports and the server of the spec touch, and of large mapped
files (libraries) which chunks of :data:`CHUNK` bytes. A green build writes it for each lock anew;
of the same lock it stays as it is, since a page more or less is no news.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct

from envbuilder.model.atomic import write_text
from envbuilder.model.codec import MisfitError, from_json
from envbuilder.model.errors import SmokeError
from envbuilder.model.pylock import suffix
from envbuilder.model.reference import Digest

from .job_types.base import Count, Size, Word
from .job_types.touched import FileName, Place, TouchedFacts
from .probe.touched import CHUNK, extent

VERSION = 1
_NUMBERS = re.compile(r"\[\n([\d\s,]*)\]")  # no text holds a line's end itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Paths (absolute) of the image's files that a start reads, and chunks of large mapped ones.

    ``by`` names what started: jobs of the smoke. ``size`` and ``total`` are bytes: of what was
    touched, chunks as such, and of all files that the image shows. ``problem`` says why nothing
    else is known.
    """

    by: tuple[str, ...]
    files: frozenset[str] = frozenset()
    chunks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    size: int = 0
    total: int = 0
    problem: str = ""

    @property
    def line(self) -> str:
        """How much of the image that is, for people."""
        if self.problem:
            return f"what a start needs is not known: {self.problem}"
        share = self.size / self.total if self.total else 1.0
        return f"a start needs {_mb(self.size)} of {_mb(self.total)} MB of files ({share:.0%})"

    @property
    def summary(self) -> dict[str, Any]:
        """Plain JSON values that say how much that is, and not which files."""
        return {
            "by": list(self.by),
            "bytes": self.size,
            "of": self.total,
            "files": len(self.files) + len(self.chunks),
            "problem": self.problem,
        }

    def bytes_of(self, path: str, size: int) -> int:
        """Return how many bytes of the file ``path`` are touched, which has ``size`` in all."""
        if path in self.files:
            return size
        return extent(size, self.chunks.get(path, ()))


class _Recorded(Struct, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    version: int
    lock: Digest
    by: list[Word]
    chunk: Count
    bytes: Size
    of: Size
    files: dict[Place, list[FileName]]
    chunks: dict[Place, list[Count]]


def touched_of(facts: TouchedFacts) -> Touched:
    """Return what the probe told."""
    return Touched(
        by=tuple(sorted(facts.by)),
        files=frozenset(_paths((each.folder, each.names) for each in facts.files)),
        chunks={each.path: tuple(sorted(set(each.numbers))) for each in facts.chunks},
        size=facts.bytes,
        total=facts.of,
        problem=facts.problem,
    )


def _paths(folders: Iterator[tuple[str, list[str]]]) -> Iterator[str]:
    for folder, names in folders:
        yield from (f"{folder.rstrip('/')}/{name}" for name in names)


def start_path(folder: Path, name: str, platform: str) -> Path:
    """Name the file of the environment ``name``, beside its spec in ``folder``.

    Those of linux/arm64 are called otherwise, as further locks are.
    """
    return folder / f"{name}{suffix(platform)}.start.json"


def read_touched(path: Path) -> tuple[Digest, Touched] | None:
    """Read what was recorded, and of which lock (its checksum); None if there is nothing yet.

    Raises SmokeError for a file that holds something else.
    """
    try:
        return parse_touched(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, MisfitError) as error:
        raise SmokeError(
            f"{path} does not hold what a start needs: {error}",
            hint="restore it from git, or delete it: the next green build writes it anew",
        ) from error


def parse_touched(data: bytes) -> tuple[Digest, Touched]:
    """Return what the file's bytes say, and of which lock; raise MisfitError for anything else."""
    found = from_json(data, _Recorded)
    if (found.version, found.chunk) != (VERSION, CHUNK):
        raise MisfitError(f"version {found.version} with chunks of {found.chunk} bytes")
    touched = Touched(
        by=tuple(found.by),
        files=frozenset(_paths(iter(found.files.items()))),
        chunks={place: tuple(sorted(set(each))) for place, each in found.chunks.items()},
        size=found.bytes,
        total=found.of,
    )
    return found.lock, touched


def write_touched(path: Path, touched: Touched, lock: Digest) -> None:
    """Write the file, whole or not at all."""
    write_text(path, dump_touched(touched, lock))


def dump_touched(touched: Touched, lock: Digest) -> str:
    """Return the file's text; a file to a line, so that git shows what moved."""
    folders: dict[str, list[str]] = {}
    for place in sorted(touched.files):
        folder, _, name = place.rpartition("/")
        folders.setdefault(folder or "/", []).append(name)
    body: dict[str, Any] = {
        "version": VERSION,
        "lock": str(lock),
        "by": touched.by,
        "chunk": CHUNK,
        "bytes": touched.size,
        "of": touched.total,
        "chunks": dict(sorted(touched.chunks.items())),
        "files": dict(sorted(folders.items())),
    }
    text = json.dumps(body, indent=1, ensure_ascii=False) + "\n"
    return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}" if size >= 10e6 else f"{size / 1e6:.1f}"
