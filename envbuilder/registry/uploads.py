"""Bring blobs into a repository: mounted, in one PUT, or in a stream that goes on after a break.

Source: OCI distribution-spec 1.1 ("Pushing blobs"), and what registries really do: a large blob
goes up in one PATCH, as Docker does it, since some registries refuse several.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from envbuilder.model.errors import NetworkError
from envbuilder.model.progress import Silent, Step
from envbuilder.model.reference import Digest
from envbuilder.net.messages import TRANSIENT, Body, BrokenConnectionError

from .auth import RefusedError
from .blobs import has_blob
from .manifests import Descriptor
from .repository import Repository, with_query

if TYPE_CHECKING:
    from envbuilder.net.answer import Answer

RESUMABLE = 64 << 20  # bytes; smaller blobs go up in one PUT, and again from the start if it fails
_RANGE = re.compile(r"(?:bytes[= ])?0-([0-9]{1,18})")
_NUMBER = re.compile(r"[0-9]{1,18}")
_TAKEN = frozenset({200, 201, 202, 204})  # how registries say that they took a part of a blob
_PIECES = tuple(1 << power for power in range(26, 17, -1))  # bytes: 64 MiB down to 256 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSource:
    """A blob that we have: ``open`` gives it from its first byte, as often as needed."""

    digest: Digest
    size: int
    open: Callable[[], BinaryIO]


class _TooLargeError(NetworkError):
    """The registry, or a proxy before it, refuses a body for its size."""


class _LostUploadError(NetworkError):
    """The registry no longer knows how far an upload had come; ``answer`` says so, if any."""

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


def upload(
    repository: Repository, source: BlobSource, *, step: Step, mount: tuple[str, ...] = ()
) -> None:
    """Bring a blob into ``repository``, by mounting it from a sibling in ``mount`` if that works.

    The registry checks the hash. Raises NetworkError if it refuses or cannot be reached.
    """
    meter = _Meter(step)
    for name in mount:
        if mounted(repository, source.digest, name):
            meter.show(source.size)
            return
    attempt = 1
    while True:
        piece = min(repository.largest_body, source.size)
        try:
            _upload(repository, source, meter, piece)
            break
        except _TooLargeError as large:
            _shrink(repository, piece, large)
        except _LostUploadError as lost:
            if attempt == repository.attempts:
                raise
            repository.pause(attempt, lost.answer)
            if has_blob(repository, source.digest):  # only the answer had been lost
                break
            attempt += 1
    meter.show(source.size)


def _shrink(repository: Repository, piece: int, large: _TooLargeError) -> None:
    """Have this repository send smaller bodies than ``piece`` from now on.

    Raises NetworkError if even the smallest was too large.
    """
    smaller = next((size for size in _PIECES if size < piece), None)
    if smaller is None:
        raise NetworkError(
            f"{large.message}, not even of {_PIECES[-1] >> 10} KiB",
            hint="let the proxy before it take larger ones (nginx: client_max_body_size 0)",
        ) from large
    repository.largest_body = min(smaller, repository.largest_body)


def put_bytes(
    repository: Repository,
    data: bytes,
    media_type: str,
    annotations: Mapping[str, str] | None = None,
    *,
    new: bool = False,
) -> Descriptor:
    """Bring a small document into ``repository``, if it is not there yet, and describe it.

    Nobody asks for one that is ``new``, such as a signature that was made just now.
    """
    source = BlobSource(digest=Digest.of(data), size=len(data), open=lambda: io.BytesIO(data))
    if new or not has_blob(repository, source.digest):
        with Silent().step("push", media_type) as step:
            upload(repository, source, step=step)
    return Descriptor(
        media_type=media_type,
        digest=source.digest,
        size=source.size,
        annotations=annotations or {},
    )


def mounted(repository: Repository, digest: Digest, name: str) -> bool:
    """Try to mount a blob from a sibling: whatever speaks against it, the blob is sent instead.

    An upload that was opened in its place is left to expire.
    """
    path = with_query("blobs/uploads/", mount=str(digest), **{"from": name})
    try:
        answer = repository.send("POST", path, push=True, also=(name,), once=True)
    except (RefusedError, BrokenConnectionError):
        return False
    with answer:
        return answer.status == 201


def _upload(repository: Repository, source: BlobSource, meter: _Meter, piece: int) -> None:
    doing = f"uploading blob {source.digest} to {repository}"
    with repository.send("POST", "blobs/uploads/", push=True) as answer:
        repository.expect(answer, {201, 202}, doing)
        location = repository.location(answer)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
    if _NUMBER.fullmatch(least):
        piece = max(piece, int(least))
    offset = 0
    if source.size > piece or source.size > RESUMABLE:
        location = _send_pieces(repository, source, location, meter, piece)
        offset = source.size
    location = with_query(location, digest=str(source.digest))
    done = _send_once(repository, "PUT", location, meter.body(source, offset, source.size))
    if done is None:
        raise _LostUploadError(f"{doing}: the connection broke at the end")
    with done:
        _check_size(done, doing)
        if _may_pass(done):
            raise _LostUploadError(f"{doing}: the registry answered {done.status} at the end", done)
        repository.expect(done, _TAKEN, doing)


def _send_pieces(
    repository: Repository, source: BlobSource, location: str, meter: _Meter, piece: int
) -> str:
    """Send all bytes by PATCH, at most ``piece`` at a time; give the next Location.

    After each break the registry is asked how far it came.
    """
    doing = f"uploading blob {source.digest} to {repository}"
    offset = breaks = 0
    while offset < source.size:
        end = min(offset + piece, source.size)
        whole = end == source.size and offset == 0
        body = meter.body(source, offset, end)
        answer = _send_once(repository, "PATCH", location, body, None if whole else offset)
        if answer is not None and not _may_pass(answer):
            with answer:
                _check_size(answer, doing)
                repository.expect(answer, _TAKEN, doing)
                if answer.headers.get("Location"):  # where it stays the same, some leave it out
                    location = repository.location(answer)
            offset, breaks = end, 0
            continue
        breaks += 1
        if breaks == repository.attempts:
            if answer is not None:
                answer.close()
            raise _LostUploadError(f"{doing}: it broke off {repository.attempts} times")
        repository.pause(breaks, answer)
        offset, location = _arrived(repository, location, source.size)
    return location


def _check_size(answer: Answer, doing: str) -> None:
    if answer.status == 413:
        raise _TooLargeError(f"{doing}: the registry, or a proxy before it, takes no such body")


def _send_once(
    repository: Repository, method: str, location: str, body: Body, offset: int | None = None
) -> Answer | None:
    """Send part of a blob; None if the connection broke and nobody knows what arrived.

    Without ``offset`` it is all that there is, which old registries want without a Content-Range.
    """
    headers = {"Content-Type": "application/octet-stream"}
    if offset is not None:
        headers["Content-Range"] = f"{offset}-{offset + body.size - 1}"
    with contextlib.suppress(BrokenConnectionError):
        return repository.send(
            method, location, headers=headers, body=body, push=True, once=body.size > 0
        )
    return None


def _may_pass(answer: Answer) -> bool:
    """Return whether an upload might succeed if it went on, or started over."""
    return answer.status in {404, 416, *TRANSIENT}


def _arrived(repository: Repository, location: str, size: int) -> tuple[int, str]:
    """Ask how many bytes of an upload the registry has, and where it goes on."""
    with repository.send("GET", location, push=True) as answer:
        match = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if answer.status != 204 or match is None or int(match[1]) >= size:
            raise _LostUploadError(f"{repository} lost an upload: it answered {answer.status}")
        last = int(match[1])
        return (last + 1 if last else 0), repository.location(answer)


class _Meter:
    """Tell a step how far one blob has come, also when sending starts over."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._shown = 0

    def show(self, position: int) -> None:
        self._step.advance(position - self._shown)
        self._shown = position

    def body(self, source: BlobSource, offset: int, end: int) -> Body:
        """Make the body of ``source`` from ``offset`` to ``end``, counted as it is read."""

        def opened() -> _Counted:
            self.show(offset)
            file = source.open()
            file.seek(offset)
            return _Counted(file, self, offset, end)

        return Body(size=end - offset, open=opened)


class _Counted:
    """A file up to ``end`` that tells a meter where it stands."""

    def __init__(self, file: BinaryIO, meter: _Meter, position: int, end: int) -> None:
        self._file = file
        self._meter = meter
        self._position = position
        self._end = end

    def read(self, amount: int, /) -> bytes:
        piece = self._file.read(min(amount, self._end - self._position))
        self._position += len(piece)
        self._meter.show(self._position)
        return piece

    def close(self) -> None:
        self._file.close()
