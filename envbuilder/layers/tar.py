"""Tar headers as a pure function of path, mode and size: no clock, no owner, no umask.

Format: POSIX.1-1988 ustar; a POSIX.1-2001 (PAX) header precedes an entry only where its path, its
link, its size or its owner does not fit. Order and content are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

BLOCK = 512
END = bytes(2 * BLOCK)

# 2000-01-01T00:00:00Z lies inside what zip and FAT times hold, in every time zone.
MTIME = 946684800

FILE, HARDLINK, SYMLINK, DIRECTORY, _PAX = b"0", b"1", b"2", b"5", b"x"

_NAME_BYTES = 100
_SIZE_LIMIT = 8**11
_OWNER_LIMIT = 8**7  # of the number of a user or group


def header(
    path: str,
    *,
    mode: int,
    kind: bytes = FILE,
    size: int = 0,
    link: str = "",
    owner: tuple[int, int] = (0, 0),
    attributes: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Return the block or blocks that announce one entry of ``size`` bytes.

    ``path`` is relative; a directory's ends with ``/``. ``owner`` is a user's and a group's
    number, which no name goes with; ``attributes`` are more PAX records.
    """
    records = dict(sorted(attributes.items()))
    if not _fits(link):
        records["linkpath"] = link
    if not _fits(path):
        records["path"] = path
    if size >= _SIZE_LIMIT:
        records["size"] = str(size)
    user, group = (number if number < _OWNER_LIMIT else 0 for number in owner)
    if (user, group) != owner:
        records |= {"uid": str(owner[0]), "gid": str(owner[1])}
    size = size if size < _SIZE_LIMIT else 0
    main = _block(path, mode, kind, size, link=link, owner=(user, group))
    if not records:
        return main
    extended = b"".join(_pax_record(key, value) for key, value in records.items())
    announced = _block(f"PaxHeaders/{path}", 0o644, _PAX, len(extended))
    return announced + extended + padding(len(extended)) + main


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of an entry of ``size`` bytes."""
    return bytes(-size % BLOCK)


def parents(path: str) -> Iterator[str]:
    """Yield the directories above a relative ``path``, outermost first, each ending with ``/``."""
    at = path.find("/")
    while at != -1 and at + 1 < len(path):
        yield path[: at + 1]
        at = path.find("/", at + 1)


def _fits(name: str) -> bool:
    return name.isascii() and len(name) <= _NAME_BYTES


def _pax_record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode(errors="surrogateescape")
    length = len(rest)
    while length != len(rest) + len(str(length)):  # the length counts its own digits
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _block(
    path: str,
    mode: int,
    kind: bytes,
    size: int,
    *,
    link: str = "",
    owner: tuple[int, int] = (0, 0),
) -> bytes:
    def name(text: str) -> bytes:
        return text.encode("ascii", "replace")[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0")

    before = name(path) + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, *owner, size, MTIME)
    after = kind + name(link) + b"ustar\0" + b"00" + bytes(64) + b"%07o\0%07o\0" % (0, 0)
    total = sum(before) + 8 * ord(" ") + sum(after)
    return (before + b"%06o\0 " % total + after).ljust(BLOCK, b"\0")
