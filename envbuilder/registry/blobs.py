"""Blobs of a repository: whether they are there, and their bytes, each of which is hashed.

Source: OCI distribution-spec 1.1 ("Pulling blobs"). ``uploads`` is the way back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from envbuilder.model.errors import NetworkError
from envbuilder.model.reference import Digest
from envbuilder.net.messages import BrokenConnectionError, MissingError
from envbuilder.net.resume import body_from, mended

from .manifests import Descriptor
from .repository import NO_HEAD, Repository

if TYPE_CHECKING:
    from envbuilder.net.answer import Answer

_LENGTH = re.compile(r"[0-9]{1,18}")


def has_blob(repository: Repository, digest: Digest) -> bool:
    """Ask whether ``repository`` holds a blob: one HEAD, or a GET of one byte if that fails."""
    doing = f"looking for blob {digest} in {repository}"
    with repository.send("HEAD", f"blobs/{digest}") as answer:
        if answer.status not in NO_HEAD:
            return _is_there(repository, answer, doing)
    headers = {"Range": "bytes=0-0"}
    with repository.send("GET", f"blobs/{digest}", headers=headers) as answer:
        return _is_there(repository, answer, doing)


def _is_there(repository: Repository, answer: Answer, doing: str) -> bool:
    if answer.status == 404 or (answer.status == 403 and repository.writing):
        return False
    repository.expect(answer, {200, 206, 416}, doing)  # 416: it is there, and empty
    return True


def read_blob(repository: Repository, blob: Descriptor, *, limit: int) -> bytes:
    """Fetch a small blob whole; raise NetworkError if it claims more than ``limit`` bytes."""
    if blob.size > limit:
        raise NetworkError(
            f"blob {blob.digest} of {repository} claims {blob.size} bytes; at most {limit} are read"
        )
    return b"".join(stream_blob(repository, blob))


def read_part(repository: Repository, blob: Descriptor, offset: int, size: int) -> bytes:
    """Fetch ``size`` bytes of a blob from ``offset``; whoever asks must check them.

    Raises NetworkError if they do not come.
    """
    part = b""
    with closing(_chunks_from(repository, blob, offset)) as chunks:
        for chunk in chunks:
            part += chunk[: size - len(part)]
            if len(part) == size:
                return part
    raise NetworkError(f"blob {blob.digest} of {repository} has no {size} bytes at {offset}")


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


def _chunks_from(
    repository: Repository, blob: Descriptor, offset: int
) -> Generator[bytes, None, None]:
    headers = {"Range": f"bytes={offset}-{blob.size - 1}"} if offset else {}
    with repository.send("GET", f"blobs/{blob.digest}", headers=headers) as answer:
        if answer.status in {400, 401, 403} and repository.is_elsewhere(answer):
            raise BrokenConnectionError(f"{answer.place} no longer gives blob {blob.digest}")
        repository.expect(answer, {200, 206}, f"fetching blob {blob.digest} of {repository}")
        length = answer.headers.get("Content-Length", "")
        if answer.status == 200 and _LENGTH.fullmatch(length) and int(length) != blob.size:
            raise MissingError(
                f"{repository} has no blob {blob.digest} of {blob.size} bytes: it has {length}",
                hint="the registry or a proxy before it is damaged, or the manifest is made up",
            )
        for chunk in body_from(answer, offset):
            offset += len(chunk)
            yield chunk
    if offset < blob.size:
        raise BrokenConnectionError(
            f"blob {blob.digest} of {repository} ended after {offset} of {blob.size} bytes"
        )
