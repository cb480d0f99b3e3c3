"""Requests and answers, as the rest of this room sees them.

No text that is meant to be shown holds a query string, a header or a password: signed addresses and
tokens are secrets.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3

from envbuilder.model.errors import NetworkError

from .config import Settings
from .connection import BLOCK, reason, root

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may pass when one waits a little."""
SPELL = 10.0
"""For how many seconds at a time a body's speed is taken."""
_LITTLE = re.compile(r"[0-9]{1,5}")  # a Content-Length whose bytes are sooner read than dropped
_DRAIN = 99_999


class BrokenConnectionError(NetworkError):
    """A failure of the connection that may pass."""


class MissingError(NetworkError):
    """The registry does not have what was asked for."""


class Readable(Protocol):
    """What a body is read from."""

    def read(self, amount: int, /) -> bytes:
        """Return at most ``amount`` bytes, none at the end."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request sends: ``size`` bytes of what ``open`` gives, anew for every attempt."""

    size: int
    open: Callable[[], Readable]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request; ``once`` for those that are not the same when they are sent again."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body | None = None
    once: bool = False


class Answer:
    """A response whose body has not been read; close it, or use it in ``with``."""

    def __init__(self, response: requests.Response, settings: Settings) -> None:
        self._response = response
        self._settings = settings
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.place = place(response.url)
        self._kept: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address that answered, query included: never show it."""
        return self._response.url

    def chunks(self) -> Iterator[bytes]:
        """Return the body as it comes, undecoded; raise NetworkError when it stalls or breaks."""
        start, received = time.monotonic(), 0
        while True:
            try:
                chunk = self._response.raw.read1(BLOCK, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise BrokenConnectionError(
                    f"the answer of {self.place} broke off: {reason(error)}"
                ) from root(error)
            if not chunk:
                return
            received += len(chunk)
            seconds = time.monotonic() - start
            if seconds > SPELL:
                if received < self._settings.slowest * seconds:
                    self._response.close()
                    speed = f"{received} bytes in {seconds:.0f} seconds"
                    raise NetworkError(f"{self.place} is too slow: {speed}")
                start, received = time.monotonic(), 0
            yield chunk

    def read(self, limit: int) -> bytes:
        """Read the whole body, at most ``limit`` bytes; raise NetworkError when it is longer."""
        if self._kept is not None:
            return self._kept
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                self._response.close()
                raise NetworkError(f"{self.place} sent more than the {limit} bytes allowed here")
        return bytes(body)

    def keep(self, limit: int) -> None:
        """Read the whole body now, so that it can be read again; raises as :meth:`read`."""
        self._kept = self.read(limit)

    def close(self) -> None:
        """Return the connection back, where little is left to read, or else drop it."""
        if _LITTLE.fullmatch(self.headers.get("Content-Length", "")):
            # A connection that breaks now is one that we no longer need.
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                self._response.raw.read(_DRAIN, decode_content=False)
        self._response.close()


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port: what must be equal for credentials to travel along."""
    parts = split_url(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port


def place(url: str) -> str:
    """Name an address in a message: without user, password, query and fragment."""
    parts = split_url(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def split_url(url: str) -> SplitResult:
    """Split an address that a server may have made up; raise NetworkError if it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no port
    except ValueError:
        raise NetworkError("the registry sent us to an address that is none") from None
    return parts


def join_url(base: str, target: str) -> str:
    """Return the address that ``target`` means at ``base``; raise NetworkError if it is none."""
    split_url(target)
    return urljoin(base, target)


def parse_json(data: bytes, what: str) -> Any:  # noqa: ANN401 (JSON is any)
    """Parse what a server sent; raise NetworkError if ``what`` is no JSON, or ambiguous.

    As strict as Go's parser is: UTF-8 without a mark before it, and no NaN or Infinity.
    """
    try:
        return json.loads(
            data.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise NetworkError(f"{what} is not JSON: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse two keys that Go takes for one: it overlooks case, and the last one wins."""
    if len({key.casefold() for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)
