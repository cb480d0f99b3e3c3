"""Which layers of a manifest carry a table of contents, as ``zstd:chunked`` annotations say (pure).

Older releases of containers/storage write the annotations under another prefix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from envbuilder.layers.chunked import PREFIX, TABLE_LIMIT
from envbuilder.model.errors import UsageError
from envbuilder.model.reference import Digest

_PREFIXES = (PREFIX, "io.containers.zstd-chunked.")
_MEMBERS = ("manifest-checksum", "manifest-position", "tarsplit-position")
NOTES = frozenset(prefix + member for prefix in _PREFIXES for member in _MEMBERS)
"""The annotations that speak of a table."""
_POSITION = re.compile(r"([0-9]{1,18}):([0-9]{1,10}):([0-9]{1,10}):1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNote:
    """Where a table lies in its blob: its zstd frame of ``size`` bytes, and their hash."""

    checksum: Digest
    offset: int
    size: int
    plain_size: int


def table_note(annotations: Mapping[str, str]) -> TableNote | None:
    """Return what a layer's annotations say of its table, None if it has none.

    Raises ValueError for annotations that do not fit, or that speak of two tables.
    """
    prefixes = [each for each in _PREFIXES if any(name.startswith(each) for name in annotations)]
    if not prefixes:
        return None
    if len(prefixes) > 1:
        raise ValueError("speaks of two tables of contents")
    said = {member: annotations.get(prefixes[0] + member, "") for member in _MEMBERS}
    match = _POSITION.fullmatch(said["manifest-position"])
    try:
        checksum = Digest.parse(said["manifest-checksum"])
    except UsageError:
        checksum = None
    if match is None or checksum is None:
        raise ValueError("speaks of a table of contents that it does not name")
    offset, size, plain_size = map(int, match.groups())
    if max(size, plain_size) > TABLE_LIMIT:
        raise ValueError(f"has a table of contents of more than {TABLE_LIMIT >> 20} MiB")
    return TableNote(checksum=checksum, offset=offset, size=size, plain_size=plain_size)
