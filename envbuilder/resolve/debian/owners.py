"""Whose a file of a root file system is: told by dpkg's own lists, diversions included.

A list names a path as its package ships it. Where ``/lib`` is a link to ``/usr/lib`` (Debian's
merged /usr), the file lies in the latter; where another package diverted the path, elsewhere. What
is compiled belongs to its source's package, and dpkg's records of a package to that.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

_INFO = re.compile(r"(?:.*/)?info/([^/:]+?)(?::[a-z0-9-]+)?\.list")
_RECORD = re.compile(r"var/lib/dpkg/info/(.+)\.[a-z0-9-]+")
_MERGED = re.compile(r"(?:bin|sbin|lib|lib32|lib64|libo32|libx32)/.+")
_PYC = re.compile(r"((?:.*/)?)__pycache__/([^/]+?)\.[^/.]+(?:\.opt-[^/.]+)?\.pyc")


@dataclass(frozen=True, slots=True)
class Owners:
    """The owning package's name by path; of a folder that several share, the first by name."""

    of_path: Mapping[str, str]

    def of(self, path: str) -> str | None:
        """Return the name of the package that ``path`` (relative to the root) is of, or None."""
        if record := _RECORD.fullmatch(path):
            return record[1].partition(":")[0]
        if path not in self.of_path and (compiled := _PYC.fullmatch(path)):
            path = f"{compiled[1]}{compiled[2]}.py"
        return self.of_path.get(path)


def read_owners(dpkg: BinaryIO) -> Owners:
    """Read a tar of dpkg's folder (``info/*.list`` and ``diversions``), in any order.

    Raises tarfile.ReadError for no tar.
    """
    lists: dict[str, list[str]] = {}
    diverted: list[str] = []
    with tarfile.open(fileobj=dpkg, mode="r|") as tar:
        for member in tar:
            package = _INFO.fullmatch(member.name)
            file = tar.extractfile(member)
            if file is not None and package:
                lists.setdefault(package[1], []).extend(_lines(file.read()))
            elif file is not None and member.name.rpartition("/")[2] == "diversions":
                diverted = _lines(file.read())
    return Owners(dict(_owned(lists, _diversions(diverted))))


def _owned(
    lists: Mapping[str, Iterable[str]], diversions: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Yield path and package, the package that wins a shared path last."""
    for package in sorted(lists, reverse=True):
        for listed in lists[package]:
            elsewhere, by = diversions.get(listed, (listed, package))
            path = (listed if by == package else elsewhere).strip("/")
            yield path, package
            if _MERGED.fullmatch(path):
                yield f"usr/{path}", package


def _diversions(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Read dpkg's triples: a path, where other packages' file of that name lies, and for whom."""
    triples = zip(lines[::3], lines[1::3], lines[2::3], strict=True)
    return {path: (elsewhere, package) for path, elsewhere, package in triples}


def _lines(content: bytes) -> list[str]:
    """Split dpkg's lists: a name may hold any other end of a line that Python knows."""
    return [line for line in content.decode(errors="surrogateescape").split("\n") if line]
