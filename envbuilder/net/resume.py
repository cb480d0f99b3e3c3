"""Bodies across broken connections: going on where the last answer left off."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .messages import BrokenConnectionError

if TYPE_CHECKING:
    from .answer import Answer

_HEADWAY = 8 << 20  # bytes between two breaks that make the first one forgotten
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)")


def mended(
    chunks_from: Callable[[int], Iterator[bytes]],
    *,
    attempts: int,
    pause: Callable[[int], object],
) -> Iterator[bytes]:
    """Return a body piece by piece, asking ``chunks_from(offset)`` again after each break.

    ``pause`` waits before the next of ``attempts`` in a row; the last raises
    BrokenConnectionError.
    """
    offset = mark = breaks = 0
    while True:
        try:
            for chunk in chunks_from(offset):
                offset += len(chunk)
                yield chunk
        except BrokenConnectionError:
            breaks = 1 if offset - mark >= _HEADWAY else breaks + 1
            mark = offset
            if breaks >= attempts:
                raise
            pause(breaks)
        else:
            return


def body_from(answer: Answer, offset: int) -> Iterator[bytes]:
    """Return the body from ``offset`` on, wherever the answer to a Range request starts."""
    skip = offset - _first_byte(answer)
    for chunk in answer.chunks():
        if skip < len(chunk):
            yield chunk[skip:] if skip > 0 else chunk
        skip -= min(skip, len(chunk))


def _first_byte(answer: Answer) -> int:
    """Tell where an answer starts: a server may ignore Range, or round it down."""
    if answer.status == 200:
        return 0
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else 0
