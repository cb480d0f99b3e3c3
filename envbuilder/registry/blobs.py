"""Blobs of a repository: whether they are there, and their bytes, each of which is hashed.

Source: OCI distribution-spec 1.1 ("Pulling blobs"). ``uploads`` is the way back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator

from envbuilder.errors import NetworkError
from envbuilder.reference import Digest

from .manifests import Descriptor
from .messages import Answer, BrokenConnectionError
from .repository import Repository

_HEADWAY = 8 << 20  # bytes between two breaks that make the first one forgotten
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/(?:[0-9]+|\*)")


def has_blob(repository: Repository, digest: Digest) -> bool:
    """Ask whether ``repository`` holds a blob: one HEAD."""
    with repository.send("HEAD", f"blobs/{digest}") as answer:
        if answer.status == 404:
            return False
        repository.expect(answer, {200}, f"looking for blob {digest} in {repository}")
        return True


def read_blob(repository: Repository, blob: Descriptor, *, limit: int) -> bytes:
    """Fetch a small blob whole; raise NetworkError where it claims more than ``limit`` bytes."""
    if blob.size > limit:
        raise NetworkError(
            f"blob {blob.digest} of {repository} claims {blob.size} bytes; at most {limit} are read"
        )
    return b"".join(stream_blob(repository, blob))


def stream_blob(repository: Repository, blob: Descriptor) -> Generator[bytes, None, None]:
    """Give a blob piece by piece, going on where a broken connection left off.

    Only a caller that has read to the end knows that the bytes are right: there, or as soon as
    there are too many, NetworkError is raised where size or hash differ from ``blob``.
    """
    seen = hashlib.sha256()
    offset = 0
    for chunk in _mended(repository, blob):
        offset += len(chunk)
        if offset > blob.size:
            break
        seen.update(chunk)
        yield chunk
    if offset != blob.size or seen.hexdigest() != blob.digest.hex:
        what = f"{offset} bytes" if offset <= blob.size else "more bytes"
        raise NetworkError(
            f"blob {blob.digest} of {repository}: expected these {blob.size} bytes, "
            f"but {what} of another hash came",
            hint="the registry or a proxy before it is damaged: push the image again",
        )


def _mended(repository: Repository, blob: Descriptor) -> Iterator[bytes]:
    """Give the raw bytes of a blob across breaks, of which only a few in a row are borne."""
    offset = mark = breaks = 0
    while True:
        try:
            for chunk in _chunks_from(repository, blob, offset):
                offset += len(chunk)
                yield chunk
            if offset >= blob.size:
                return
            raise BrokenConnectionError(
                f"blob {blob.digest} of {repository} ended after {offset} of {blob.size} bytes"
            )
        except BrokenConnectionError:
            breaks = 1 if offset - mark >= _HEADWAY else breaks + 1
            mark = offset
            if breaks >= repository.attempts:
                raise
            repository.pause(breaks)


def _chunks_from(repository: Repository, blob: Descriptor, offset: int) -> Iterator[bytes]:
    headers = {"Range": f"bytes={offset}-{blob.size - 1}"} if offset else {}
    with repository.send("GET", f"blobs/{blob.digest}", headers=headers) as answer:
        repository.expect(answer, {200, 206}, f"fetching blob {blob.digest} of {repository}")
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
