"""All of a tar but the content of its files, by which whoever has those puts the tar together.

podman does so to push what it pulled in part, and to prove that it has the ``diff_id``. Format:
vbatts/tar-split, one JSON document a line. A segment is what comes before a file's content: the
padding of the file before, and all headers.
"""

from __future__ import annotations

from fastcrc import crc64
from msgspec import Struct, json

from .frames import PackedText

_FILE, _SEGMENT = 1, 2


class _Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line; ``payload`` is a segment's bytes, or the CRC of a file's content."""

    type: int
    name: str = ""
    size: int = 0
    payload: bytes | None
    position: int


class Checksum:
    """The CRC-64 (ISO) of a file's content, which tar-split checks it by."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, content: bytes) -> None:
        """Add more of the content."""
        self._value = crc64.go_iso(content, self._value)

    def digest(self) -> bytes:
        """Return its eight bytes, the highest first."""
        return self._value.to_bytes(8, "big")


class TarSplit:
    """The lines of one tar, in its order."""

    def __init__(self) -> None:
        self._text = PackedText()
        self._lines = 0

    @property
    def size(self) -> int:
        """How many bytes the text has so far, unpacked."""
        return self._text.size

    def segment(self, raw: bytes) -> None:
        """Add bytes that are no file's content."""
        self._line(_Line(type=_SEGMENT, payload=raw, position=self._lines))

    def file(self, name: str, size: int, checksum: bytes | None) -> None:
        """Add an entry, of whatever kind; only where it has content there is a checksum of it."""
        line = _Line(type=_FILE, name=name, size=size, payload=checksum, position=self._lines)
        self._line(line)

    def finish(self) -> bytes:
        """Return the text, packed."""
        return self._text.finish()

    def _line(self, line: _Line) -> None:
        self._text.write(json.encode(line) + b"\n")
        self._lines += 1
