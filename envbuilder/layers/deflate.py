"""Gzip members around deflate data that already exists, so that nothing is compressed again.

A gzip file is a sequence of members (RFC 1952, 2.2), each a raw deflate stream (RFC 1951) between
a header and a CRC; a zip holds the same raw streams. Bytes that no zip holds travel in *stored*
blocks. No compressor takes part, so a layer's digest depends on no version of one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from isal import isal_zlib
from isal.igzip_lib import DECOMP_DEFLATE, IgzipDecompressor, IsalError

# No name, no time, no flags; OS unknown (RFC 1952, 2.3).
HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
STORED_BLOCK = 0xFFFF
# Content moves in pieces of about 1 MiB; whole stored blocks, so that a piece's size shows nowhere.
PIECE = 16 * STORED_BLOCK


class DeflateError(ValueError):
    """A deflate stream is damaged, or its length is not what was announced."""


def trailer(crc: int, size: int) -> bytes:
    """Return the end of a member: CRC-32 and size of its content (bytes, modulo 2**32)."""
    return struct.pack("<LL", crc, size & 0xFFFFFFFF)


def stored_block(size: int, *, last: bool) -> bytes:
    """Return the header of a stored block of ``size`` (at most 65535) bytes."""
    return struct.pack("<BHH", last, size, size ^ 0xFFFF)


def stored(data: bytes) -> bytes:
    """Return ``data`` as one member of stored blocks."""
    blocks = [data[at : at + STORED_BLOCK] for at in range(0, len(data), STORED_BLOCK)] or [b""]
    parts = [HEADER]
    for block in blocks[:-1]:
        parts += (stored_block(len(block), last=False), block)
    parts += (stored_block(len(blocks[-1]), last=True), blocks[-1])
    parts.append(trailer(isal_zlib.crc32(data), len(data)))
    return b"".join(parts)


def read_at(fd: int, offset: int, size: int) -> Iterator[bytes]:
    """Read ``size`` bytes of a file from ``offset`` on, in pieces; raise EOFError if it ends."""
    end = offset + size
    while offset < end:
        wanted = min(PIECE, end - offset)
        piece = os.pread(fd, wanted, offset)
        while len(piece) < wanted:  # file systems in user space may give less at a time
            more = os.pread(fd, wanted - len(piece), offset + len(piece))
            if not more:
                raise EOFError(f"the file ends before byte {end}")
            piece += more
        offset += wanted
        yield piece


def inflate(raw: Iterator[bytes], size: int) -> Iterator[tuple[bytes, bytes]]:
    """Inflate a raw deflate stream; yield (piece of it, piece of its content) as they come.

    Either may be empty. Pieces stay near 1 MiB however well the stream is compressed. Raises
    DeflateError unless the stream ends exactly at the end of ``raw``, after ``size`` bytes.
    """
    stream = IgzipDecompressor(flag=DECOMP_DEFLATE)
    try:
        for piece in raw:
            if stream.eof:
                raise DeflateError("data follows the end of the deflate stream")
            content = stream.decompress(piece, PIECE)
            size -= len(content)
            yield piece, content
            while not stream.needs_input and not stream.eof and size >= 0:
                content = stream.decompress(b"", PIECE)
                size -= len(content)
                yield b"", content
            if size < 0:
                raise DeflateError("it inflates to more than the announced size")
    except IsalError as error:  # type: ignore[misc] # its stub forgets the base class
        raise DeflateError(f"damaged deflate stream: {error}") from error
    if not stream.eof or size:
        raise DeflateError("it inflates to less than the announced size")
    if stream.unused_data:
        raise DeflateError("data follows the end of the deflate stream")
