"""Bring one file from an index or a mirror: hashed as it comes, whole or not at all.

Proxies, certificates and logins (``logins``) are those with which uv asks the indexes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from envbuilder.model.errors import NetworkError
from envbuilder.model.package_spec import Index
from envbuilder.model.progress import Step
from envbuilder.model.reference import Digest
from envbuilder.net.config import Settings
from envbuilder.net.messages import HttpRequest
from envbuilder.net.resume import body_from, mended
from envbuilder.net.transport import Transport

from .credentials import LOG_IN, find_login, in_keyring
from .indexes import uv_environment

if TYPE_CHECKING:
    from envbuilder.net.answer import Answer

_CHUNK = 1 << 20

T = TypeVar("T")


class RefusedError(NetworkError):
    """A server answered ``status`` (HTTP) instead of the file."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, hint=LOG_IN)
        self.status = status


class IndexClient:
    """Asks this machine's package indexes; what it was told once, it knows.

    Close it, or use it in ``with``. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._transports: dict[str, Transport] = {}
        self._answers: dict[Hashable, Any] = {}
        self._lock = RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            transport.close()

    def once(self, question: Hashable, ask: Callable[[], T]) -> T:
        """Return what ``ask`` gave when it was first called for ``question``."""
        with self._lock:
            if question not in self._answers:
                self._answers[question] = ask()
            answer: T = self._answers[question]
        return answer

    def size_of(self, url: str) -> int:
        """Ask how large the file at ``url`` is, in bytes; raise NetworkError if nobody says."""
        if (path := _local(url)) is not None:
            with _open(path) as stream:
                return stream.seek(0, 2)
        with self._transport(_host(url)).send(self._request("HEAD", url)) as answer:
            if answer.status != 200:
                raise _refusal(answer)
            length = answer.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise NetworkError(f"{answer.place} does not tell its size")
            return int(length)

    def read_page(self, url: str, *, accept: str, limit: int) -> tuple[str, bytes] | None:
        """Read a small document: its media type and its bytes, at most ``limit``; None if none is.

        A directory's page is its ``index.html``. Raises NetworkError.
        """
        if (path := _local(url)) is not None:
            page = path / "index.html"
            if not page.is_file():
                return None
            with _open(page) as stream:
                return "text/html", stream.read(limit)
        with self._transport(_host(url)).send(self._request("GET", url, Accept=accept)) as answer:
            if answer.status in {404, 410}:
                return None
            if answer.status != 200:
                raise _refusal(answer)
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
            return kind, answer.read(limit)

    def read_range(self, url: str, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at ``offset`` of a file.

        Raises NetworkError if only all is served.
        """
        if (path := _local(url)) is not None:
            with _open(path) as stream:
                stream.seek(offset)
                return stream.read(size)
        request = self._request("GET", url, Range=f"bytes={offset}-{offset + size - 1}")
        with self._transport(_host(url)).send(request) as answer:
            if answer.status != 206:
                message = f"{answer.place} does not serve parts (status {answer.status})"
                raise RefusedError(message, status=answer.status)
            return answer.read(size)

    def read_whole(self, url: str, *, announced: Callable[[int], object]) -> Iterator[bytes]:
        """Yield the file at ``url`` piece by piece; ``announced`` hears its size, if it is told.

        Raises NetworkError.
        """
        if (path := _local(url)) is not None:
            with _open(path) as stream:
                announced(stream.seek(0, 2))
        yield from self._chunks(url, announced)

    def download(
        self, url: str, write: Callable[[bytes], object], *, sha256: Digest, size: int, step: Step
    ) -> None:
        """Pass the ``size`` bytes at ``url`` to ``write``.

        Raises NetworkError if the file is not to be had, or is not the one that was locked: the
        caller throws away then what was written.
        """
        hasher = hashlib.sha256()
        received = 0
        for chunk in self._chunks(url):
            hasher.update(chunk)
            received += len(chunk)
            if received > size:
                break
            write(chunk)
            step.advance(len(chunk))
        if received != size or hasher.hexdigest() != sha256.hex:
            name = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
            raise NetworkError(
                f"{name} is not the locked file: expected {size:,} bytes with {sha256}, the index "
                f"sent {received:,} bytes with sha256:{hasher.hexdigest()}",
                hint="the index or a proxy changed the file; use another mirror, or lock again and "
                "look at what changed",
            )

    def _chunks(
        self, url: str, announced: Callable[[int], object] = lambda _: None
    ) -> Iterator[bytes]:
        if (path := _local(url)) is not None:
            with _open(path) as stream:
                yield from iter(lambda: stream.read(_CHUNK), b"")
            return
        transport = self._transport(_host(url))

        def chunks_from(offset: int) -> Iterator[bytes]:
            request = self._request("GET", url, **({"Range": f"bytes={offset}-"} if offset else {}))
            with transport.send(request) as answer:
                if answer.status not in {200, 206}:
                    raise _refusal(answer)
                length = answer.headers.get("Content-Length", "")
                if length.isdecimal() and not offset:
                    announced(int(length))
                yield from body_from(answer, offset)

        yield from mended(chunks_from, attempts=transport.settings.attempts, pause=transport.pause)

    def _transport(self, host: str) -> Transport:
        with self._lock:
            if host not in self._transports:
                self._transports[host] = Transport(host, _settings())
            return self._transports[host]

    def _request(self, method: str, url: str, **headers: str) -> HttpRequest:
        parts = urlsplit(url)
        login = find_login(url, uv_environment(Index()), password=self._password)
        if login is not None:
            token = base64.b64encode(":".join(login).encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        bare = urlunsplit((parts.scheme, _host(url), parts.path, parts.query, ""))
        return HttpRequest(method=method, url=bare, headers=headers)

    def _password(self, service: str, user: str) -> str:
        return self.once(("keyring", service, user), lambda: in_keyring(service, user))


def _local(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise NetworkError(
            f"cannot read {path}: {error.strerror}",
            hint="an index of this machine names that file; put it there, or use another index",
        ) from error


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _settings() -> Settings:
    """Trust whom uv trusts, which resolved what is fetched here: SSL_CERT_FILE, or pip's `cert`."""
    environment = uv_environment(Index())
    first = environment.get("SSL_CERT_FILE")
    return Settings.from_environment(environment | ({"REQUESTS_CA_BUNDLE": first} if first else {}))


def _refusal(answer: Answer) -> RefusedError:
    return RefusedError(f"{answer.place} answered {answer.status}", status=answer.status)
