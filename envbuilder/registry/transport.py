"""HTTP as a hostile network needs it: bounded, retried, redirected without our credentials.

A :class:`Transport` speaks for one registry. It knows nothing of image formats or logins; it sends
one :class:`Request` and gives an :class:`Answer`, or raises NetworkError. No message holds a query
string, a header or a password: signed URLs and tokens are secrets.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Protocol, Self
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from envbuilder.errors import NetworkError

from .connection import BLOCK, Adapter, reason, root, translate
from .settings import Settings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOST_REDIRECTS = 6
_DRAIN = 64 * 1024
_GRACE = 10.0  # seconds that a body may take before its speed counts


class BrokenConnectionError(NetworkError):
    """A failure of the connection that may pass."""


class Readable(Protocol):
    """What a body is read from."""

    def read(self, amount: int, /) -> bytes:
        """Give at most ``amount`` bytes, none at the end."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request sends: ``size`` bytes of what ``open`` gives, anew for every attempt."""

    size: int
    open: Callable[[], Readable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address that answered, query included: never show it."""
        return self._response.url

    def chunks(self) -> Iterator[bytes]:
        """Give the body as it comes, undecoded; raise NetworkError when it stalls or breaks."""
        start = time.monotonic()
        received = 0
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
            if seconds > _GRACE and received < self._settings.slowest * seconds:
                self._response.close()
                speed = f"{received} bytes in {seconds:.0f} seconds"
                raise NetworkError(f"{self.place} is too slow: {speed}")
            yield chunk

    def read(self, limit: int) -> bytes:
        """Read the whole body, at most ``limit`` bytes; raise NetworkError when it is longer."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                self._response.close()
                raise NetworkError(f"{self.place} sent more than the {limit} bytes allowed here")
        return bytes(body)

    def close(self) -> None:
        """Give the connection back, where little is left to read, or else drop it."""
        left = self.headers.get("Content-Length", "")
        if left.isdecimal() and int(left) <= _DRAIN:
            # A connection that breaks now is one that we no longer need.
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                self._response.raw.read(_DRAIN, decode_content=False)
        self._response.close()


class Transport:
    """Send requests on behalf of one registry; safe to use from several threads."""

    def __init__(self, registry: str, settings: Settings) -> None:
        self.settings = settings
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = Adapter(registry, settings)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def send(self, request: Request) -> Answer:
        """Send ``request``, waiting and trying again while the failure may pass.

        Gives whatever final answer came, also 4xx and 5xx. Raises NetworkError where none came;
        a request that is sent only ``once`` raises BrokenConnectionError, and its caller decides.
        """
        if request.once:
            return self._follow(request)
        for attempt in range(1, self.settings.attempts):
            answer = None
            with contextlib.suppress(BrokenConnectionError):
                answer = self._follow(request)
                if answer.status not in TRANSIENT:
                    return answer
            self.pause(attempt, answer)
        try:
            return self._follow(request)
        except BrokenConnectionError as error:
            raise NetworkError(error.message, hint=error.hint) from error.__cause__

    def pause(self, attempt: int, answer: Answer | None = None) -> None:
        """Wait before the next attempt, as long as ``answer`` asks for, and close it.

        Raises NetworkError where that is longer than the settings allow.
        """
        asked = None
        if answer is not None:
            asked = _retry_after(answer.headers.get("Retry-After", ""))
            answer.close()
            if asked is not None and asked > self.settings.longest_wait:
                raise NetworkError(
                    f"{answer.place} answered {answer.status} and asks to wait {asked:.0f} seconds",
                    hint="try again later, or log in if the registry limits anonymous use",
                )
        time.sleep(self.settings.backoff * 2 ** (attempt - 1) if asked is None else asked)

    def _follow(self, request: Request) -> Answer:
        for _ in range(_MOST_REDIRECTS):
            answer = self._once(request)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            if request.method not in {"GET", "HEAD"} and answer.status not in {307, 308}:
                return answer
            answer.close()
            request = self._redirected(request, urljoin(request.url, location))
        raise NetworkError(f"{place(request.url)}: more than {_MOST_REDIRECTS} redirects")

    def _redirected(self, request: Request, target: str) -> Request:
        self.check_address(target)
        headers = dict(request.headers)
        if origin(target) != origin(request.url):
            headers.pop("Authorization", None)
        return replace(request, url=target, headers=headers)

    def check_address(self, url: str) -> None:
        """Raise NetworkError for an address that is not HTTP, or lacks TLS where it is due."""
        parts = urlsplit(url)
        plain = parts.scheme == "http" and self.settings.allows_plain(parts.netloc)
        if parts.hostname and (parts.scheme == "https" or plain):
            return
        raise NetworkError(
            f"the registry sent us on to {place(url)}, which is not HTTPS",
            hint="let the proxy before the registry set X-Forwarded-Proto, or name the registry "
            "in ENVBUILDER_PLAIN_HTTP",
        )

    def _once(self, request: Request) -> Answer:
        data = None if request.body is None else _Reader(request.body)
        try:
            response = self._session.request(
                request.method,
                request.url,
                headers={"Accept-Encoding": "identity", **request.headers},
                data=data,
                stream=True,
                allow_redirects=False,
                proxies=self.settings.proxy_for(request.url),
                timeout=(self.settings.connect_seconds, self.settings.read_seconds),
            )
        except requests.exceptions.SSLError as error:
            translate(
                error,
                f"no secure connection to {place(request.url)}",
                hint="name the CA's PEM file in SSL_CERT_FILE",
            )
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise BrokenConnectionError(
                f"cannot reach {place(request.url)}: {reason(error)}",
                hint="check the name, the network and the proxy settings",
            ) from root(error)
        except requests.exceptions.RequestException as error:
            translate(error, f"cannot talk to {place(request.url)}")
        finally:
            if data is not None:
                data.close()
        return Answer(response, self.settings)


class _Reader:
    """A body in the shape that requests streams with a Content-Length."""

    def __init__(self, body: Body) -> None:
        self._size = body.size
        self._file = body.open()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(BLOCK), b"")

    def read(self, amount: int = -1) -> bytes:
        return self._file.read(amount)

    def close(self) -> None:
        self._file.close()


def origin(url: str) -> tuple[str, str, int]:
    """Give scheme, host and port: what must be equal for credentials to travel along."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port


def place(url: str) -> str:
    """Name an address in a message: without user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _retry_after(text: str) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds or a date; None where it is neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
