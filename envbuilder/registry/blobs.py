"""Blobs of a repository: whether they are there, and their bytes, each of which is hashed.

Source: OCI distribution-spec 1.1 ("Pulling blobs"). ``uploads`` is the way back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from functools import partial

from envbuilder.model.errors import NetworkError
from envbuilder.model.reference import Digest
from envbuilder.net.messages import BrokenConnectionError
from envbuilder.net.resume import body_from, mended

from .manifests import Descriptor
from .repository import Repository


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
    """Return a blob piece by piece, going on where a broken connection left off.

    Only a caller that has read to the end knows that the bytes are right: there, or as soon as
    there are too many, NetworkError is raised where size or hash differ from ``blob``.
    """
    seen = hashlib.sha256()
    offset = 0
    for chunk in mended(
        partial(_chunks_from, repository, blob),
        attempts=repository.attempts,
        pause=repository.pause,
    ):
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


def _chunks_from(repository: Repository, blob: Descriptor, offset: int) -> Iterator[bytes]:
    headers = {"Range": f"bytes={offset}-{blob.size - 1}"} if offset else {}
    with repository.send("GET", f"blobs/{blob.digest}", headers=headers) as answer:
        repository.expect(answer, {200, 206}, f"fetching blob {blob.digest} of {repository}")
        for chunk in body_from(answer, offset):
            offset += len(chunk)
            yield chunk
    if offset < blob.size:
        raise BrokenConnectionError(
            f"blob {blob.digest} of {repository} ended after {offset} of {blob.size} bytes"
        )
