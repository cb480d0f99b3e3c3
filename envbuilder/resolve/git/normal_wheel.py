"""One form for the wheels that we build: the bytes depend on the members' content and nothing else.

Backends write members in the order of the disk, with the clock of the day and the modes of a umask.
Here members and RECORD are sorted, times are 1980-01-01 (the first that a zip can say), modes are
0644 or 0755. They are deflated by zlib: two wheels of equal content can only differ where another
library took its place, and :func:`differences` says so by finding none.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from envbuilder.layers.wheelfile import Member, WheelFile, unfit

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3

Contents = Mapping[str, str]
"""What a wheel holds: member -> mode and SHA-256, as one word."""


def normalise(source: Path, filename: str, target: IO[bytes]) -> Contents:
    """Write the wheel at ``source`` to ``target`` (seekable) in its normal form.

    Returns its contents. Raises BuildError for a wheel that cannot be trusted (see WheelFile), or
    whose RECORD is no table.
    """
    contents = {}
    with (
        WheelFile.open(source, filename) as wheel,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as out,
    ):
        for name in sorted(name for name, each in wheel.members.items() if not each.is_directory):
            member = wheel.members[name]
            hasher = hashlib.sha256()
            info = _info(member)
            with out.open(info, "w", force_zip64=member.size >= zipfile.ZIP64_LIMIT) as sink:
                for piece in _content(wheel, member):
                    hasher.update(piece)
                    sink.write(piece)
            contents[name] = f"{info.external_attr >> 16:o} {hasher.hexdigest()}"
    return contents


def differences(before: Contents, after: Contents) -> list[str]:
    """Say which members differ between two wheels, one line each, sorted by path."""
    lines = []
    for path in sorted({*before, *after}):
        if path not in after:
            lines.append(f"{path}: gone")
        elif path not in before:
            lines.append(f"{path}: new")
        elif before[path] != after[path]:
            same = before[path].split()[1] == after[path].split()[1]
            lines.append(f"{path}: {'other mode' if same else 'other content'}")
    return lines


def _info(member: Member) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(member.name, _EPOCH)
    info.create_system = _UNIX
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o100755 if member.executable else 0o100644) << 16
    info.file_size = member.size
    return info


def _content(wheel: WheelFile, member: Member) -> Iterator[bytes]:
    if not member.name.endswith(".dist-info/RECORD"):
        return (content for _, content in wheel.pieces(member))
    text = io.StringIO()
    try:
        rows = csv.reader(io.StringIO(wheel.read(member.name).decode(), newline=""))
        csv.writer(text, lineterminator="\n").writerows(sorted(row for row in rows if row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise unfit(wheel.filename, f"{member.name} cannot be read: {error}") from error
    return iter([text.getvalue().encode()])
