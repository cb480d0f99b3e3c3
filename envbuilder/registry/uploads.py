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
from typing import BinaryIO

from envbuilder.model.errors import NetworkError
from envbuilder.model.progress import Silent, Step
from envbuilder.model.reference import Digest
from envbuilder.net.messages import TRANSIENT, Answer, Body, BrokenConnectionError

from .blobs import has_blob
from .manifests import Descriptor
from .repository import Repository, with_query

RESUMABLE = 64 << 20  # bytes; smaller blobs go up in one PUT, and again from the start if it fails
_RANGE = re.compile(r"(?:bytes[= ])?0-([0-9]{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSource:
    """A blob that we have: ``open`` gives it from its first byte, as often as needed."""

    digest: Digest
    size: int
    open: Callable[[], BinaryIO]


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
        if _mounted(repository, source.digest, name):
            meter.show(source.size)
            return
    for attempt in range(1, repository.attempts + 1):
        try:
            _upload(repository, source, meter)
        except _LostUploadError as lost:
            if attempt == repository.attempts:
                raise
            repository.pause(attempt, lost.answer)
            if has_blob(repository, source.digest):  # only the answer had been lost
                break
        else:
            break
    meter.show(source.size)


def put_bytes(
    repository: Repository,
    data: bytes,
    media_type: str,
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """Bring a small document into ``repository``, if it is not there yet, and describe it."""
    source = BlobSource(digest=Digest.of(data), size=len(data), open=lambda: io.BytesIO(data))
    if not has_blob(repository, source.digest):
        with Silent().step("push", media_type) as step:
            upload(repository, source, step=step)
    return Descriptor(
        media_type=media_type,
        digest=source.digest,
        size=source.size,
        annotations=annotations or {},
    )


def _mounted(repository: Repository, digest: Digest, name: str) -> bool:
    path = with_query("blobs/uploads/", mount=str(digest), **{"from": name})
    with repository.send("POST", path, push=True, also=(name,)) as answer:
        if answer.status == 202:  # an upload was opened instead, which we leave to expire
            return False
        if answer.status in {403, 404}:
            return False
        repository.expect(answer, {201}, f"mounting {digest} from {name}")
        return True


def _upload(repository: Repository, source: BlobSource, meter: _Meter) -> None:
    doing = f"uploading blob {source.digest} to {repository}"
    with repository.send("POST", "blobs/uploads/", push=True) as answer:
        repository.expect(answer, {202}, doing)
        location = repository.location(answer)
    offset = 0
    if source.size > RESUMABLE:
        location = _send_large(repository, source, location, meter)
        offset = source.size
    location = with_query(location, digest=str(source.digest))
    done = _send_once(repository, "PUT", location, meter.body(source, offset))
    if done is None:
        raise _LostUploadError(f"{doing}: the connection broke at the end")
    with done:
        if _may_pass(done):
            raise _LostUploadError(f"{doing}: the registry answered {done.status} at the end", done)
        repository.expect(done, {201, 204}, doing)


def _send_large(repository: Repository, source: BlobSource, location: str, meter: _Meter) -> str:
    """Send all bytes by PATCH, asking after each break how far it came; give the next Location."""
    doing = f"uploading blob {source.digest} to {repository}"
    offset = 0
    for attempt in range(1, repository.attempts + 1):
        answer = _send_once(repository, "PATCH", location, meter.body(source, offset), offset)
        if answer is not None and not _may_pass(answer):
            with answer:
                repository.expect(answer, {202}, doing)
                return repository.location(answer)
        repository.pause(attempt, answer)
        offset, location = _arrived(repository, location, source.size)
    raise _LostUploadError(f"{doing}: it broke off {repository.attempts} times")


def _send_once(
    repository: Repository, method: str, location: str, body: Body, offset: int = 0
) -> Answer | None:
    """Send part of a blob; None if the connection broke and nobody knows what arrived."""
    headers = {"Content-Type": "application/octet-stream"}
    if offset:
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

    def body(self, source: BlobSource, offset: int) -> Body:
        """Make the body of ``source`` from ``offset`` on, counted as it is read."""

        def opened() -> _Counted:
            self.show(offset)
            file = source.open()
            file.seek(offset)
            return _Counted(file, self, offset)

        return Body(size=source.size - offset, open=opened)


class _Counted:
    """A file that tells a meter where it stands."""

    def __init__(self, file: BinaryIO, meter: _Meter, position: int) -> None:
        self._file = file
        self._meter = meter
        self._position = position

    def read(self, amount: int, /) -> bytes:
        piece = self._file.read(amount)
        self._position += len(piece)
        self._meter.show(self._position)
        return piece

    def close(self) -> None:
        self._file.close()
