"""Requests, and what can be wrong with an answer, as the rest of this room sees them.

No text that is meant to be shown holds a query string, a header or a password: signed addresses and
tokens are secrets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from envbuilder.model.errors import NetworkError

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may pass when one waits a little."""


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
