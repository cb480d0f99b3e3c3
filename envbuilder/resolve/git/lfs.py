"""Pointers of Git LFS: files whose content lies on another server, which nothing here fetches.

A build takes the pointer for the file and ships three lines of text. Repositories have them for
pictures and test data as well, which no build reads; so a pointer alone is no error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.errors import BuildError

_START = b"version https://git-lfs.github.com/spec/v1\n"  # git-lfs, docs/spec.md
_LONGEST = 1024  # bytes; its specification bounds a pointer so
_SHOWN = 5


def is_pointer(content: bytes) -> bool:
    """Return whether a file's ``content`` is a pointer."""
    return len(content) < _LONGEST and content.startswith(_START)


def pointers(folder: Path) -> list[str]:
    """List the pointers below ``folder``, by their paths in there."""
    return sorted(str(path.relative_to(folder)) for path in _small(folder) if _points(path))


def check_wheel(wheel: WheelFile) -> None:
    """Refuse a wheel that ships pointers for files; raise BuildError that names them."""
    small = (member for member in wheel.members.values() if member.size < _LONGEST)
    found = [member.name for member in small if wheel.starts_with(member, _START)]
    if found:
        raise BuildError(f"its build made a wheel in which {_words(found)}", hint=_HINT)


def told(found: list[str]) -> str:
    """Return a hint for a build that failed and whose sources hold the pointers ``found``."""
    return f"beware: {_words(found)}; {_HINT}"


_HINT = (
    "files of Git LFS are not fetched; pin a repository that holds them, or give them as a "
    "further source (build.sources)"
)


def _words(found: list[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    names = ", ".join(found[:_SHOWN]) + more
    return f"{names} {'is a pointer' if len(found) == 1 else 'are pointers'} to Git LFS"


def _small(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if not path.is_symlink() and path.is_file() and path.stat().st_size < _LONGEST:
                yield path


def _points(path: Path) -> bool:
    return is_pointer(path.read_bytes())
