"""Bring one file from an index or a mirror: hashed as it comes, whole or not at all.

Credentials come from where pip and uv take them: the index URL that the machine is configured
with, ``UV_INDEX_NAME_USERNAME``/``_PASSWORD`` by way of uv's own URL, and netrc.
"""

from __future__ import annotations

import base64
import hashlib
import netrc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from envbuilder.errors import NetworkError
from envbuilder.progress import Step
from envbuilder.reference import Digest
from envbuilder.registry.messages import Request
from envbuilder.registry.settings import Settings
from envbuilder.registry.transport import Transport

_CHUNK = 1 << 20
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL",
                    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")  # fmt: skip


def size_of(url: str) -> int:
    """Ask how large the file at ``url`` is, in bytes; raise NetworkError where nobody says."""
    if (path := _local(url)) is not None:
        return path.stat().st_size
    with _transport(_host(url)).send(_request("HEAD", url)) as answer:
        length = answer.headers.get("Content-Length", "")
        if answer.status != 200 or not length.isdecimal():
            raise NetworkError(f"{answer.place} does not tell its size (status {answer.status})")
        return int(length)


def read_page(url: str, *, accept: str, limit: int) -> tuple[str, bytes] | None:
    """Read a small document: its media type and its bytes, at most ``limit``; None where none is.

    A directory's page is its ``index.html``. Raises NetworkError.
    """
    if (path := _local(url)) is not None:
        page = path / "index.html"
        return ("text/html", page.read_bytes()) if page.is_file() else None
    request = _request("GET", url)
    request = replace(request, headers={**request.headers, "Accept": accept})
    with _transport(_host(url)).send(request) as answer:
        if answer.status in {404, 410}:
            return None
        if answer.status != 200:
            raise NetworkError(
                f"{answer.place} answered {answer.status}",
                hint="log in (netrc, or credentials in the index URL), or use another mirror",
            )
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return kind, answer.read(limit)


def read_range(url: str, offset: int, size: int) -> bytes:
    """Read ``size`` bytes at ``offset`` of a file; raise NetworkError where only all is served."""
    if (path := _local(url)) is not None:
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(size)
    request = _request("GET", url)
    last = offset + size - 1
    request = replace(request, headers={**request.headers, "Range": f"bytes={offset}-{last}"})
    with _transport(_host(url)).send(request) as answer:
        if answer.status != 206:
            raise NetworkError(f"{answer.place} does not serve parts (status {answer.status})")
        return answer.read(size)


def download(
    url: str, write: Callable[[bytes], object], *, sha256: Digest, size: int, step: Step
) -> None:
    """Pass the ``size`` bytes at ``url`` to ``write``.

    Raises NetworkError where the file is not to be had, or is not the one that was locked: the
    caller throws away then what was written.
    """
    hasher = hashlib.sha256()
    received = 0
    with _chunks(url) as chunks:
        for chunk in chunks:
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


@contextmanager
def _chunks(url: str) -> Iterator[Iterator[bytes]]:
    if (path := _local(url)) is not None:
        with path.open("rb") as stream:
            yield iter(lambda: stream.read(_CHUNK), b"")
        return
    with _transport(_host(url)).send(_request("GET", url)) as answer:
        if answer.status != 200:
            raise NetworkError(
                f"{answer.place} answered {answer.status}",
                hint="log in (netrc, or credentials in the index URL), or use another mirror",
            )
        yield answer.chunks()


def _local(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


@cache
def _transport(host: str) -> Transport:
    """Keep one pool of connections per host, for as long as the program runs."""
    return Transport(host, Settings.from_environment())


def _request(method: str, url: str) -> Request:
    parts = urlsplit(url)
    login = _login_in(url) or _configured(parts.hostname or "")
    headers = {}
    if login is not None:
        token = base64.b64encode(":".join(login).encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    bare = urlunsplit((parts.scheme, _host(url), parts.path, parts.query, ""))
    return Request(method=method, url=bare, headers=headers)


def _login_in(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _configured(host: str) -> tuple[str, str] | None:
    """Find the login for ``host``: in a configured index URL, else in netrc."""
    for variable in _INDEX_VARIABLES:
        for url in os.environ.get(variable, "").split():
            if urlsplit(url).hostname == host and (login := _login_in(url)):
                return login
    path = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    if not path.is_file():
        return None
    try:
        found = netrc.netrc(path).authenticators(host)
    except netrc.NetrcParseError as error:
        raise NetworkError(f"cannot read {path}: {error.msg} (line {error.lineno})") from error
    return (found[0], found[2] or "") if found else None
