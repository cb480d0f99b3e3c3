"""A member of a zip of strangers (a wheel, a list of advisories), read in bounds."""

from __future__ import annotations

import lzma
import zipfile
import zlib

ZIP_DAMAGES: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    KeyError,
    ValueError,
    NotImplementedError,  # rarer compressions
    RuntimeError,  # an encrypted member
)
"""What reading a damaged zip raises; an OSError is a disk's, or a network's."""


def read_member(archive: zipfile.ZipFile, path: str, *, limit: int) -> bytes:
    """Read a member that may have ``limit`` bytes, whatever the archive says that it has.

    Raises one of ``ZIP_DAMAGES``.
    """
    with archive.open(path) as member:
        data = member.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path} has more than the {limit} bytes that are sensible")
    return data
