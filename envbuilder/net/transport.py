"""HTTP as a hostile network needs it: bounded, retried, redirected without our credentials.

A :class:`Transport` speaks for one registry. It knows nothing of image formats or logins; it sends
one :class:`HttpRequest` and gives an :class:`Answer`, or raises NetworkError.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime

import requests
import urllib3

from envbuilder.model.errors import NetworkError

from .config import Settings
from .connection import BLOCK, Adapter, reason, root, translate
from .messages import (
    TRANSIENT,
    Answer,
    Body,
    BrokenConnectionError,
    HttpRequest,
    join_url,
    origin,
    place,
    split_url,
)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 6


class _Session(requests.Session):
    """A session that leaves redirects alone: requests would read their bodies, endless or not."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


class Transport:
    """Send requests on behalf of one registry; safe to use from several threads."""

    def __init__(self, registry: str, settings: Settings) -> None:
        self.settings = settings
        self._session = _Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = Adapter(registry, settings)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def send(self, request: HttpRequest) -> Answer:
        """Send ``request``, waiting and trying again while the failure may pass.

        Returns whatever final answer came, also 4xx and 5xx. Raises NetworkError if none came;
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

        Raises NetworkError if that is longer than the settings allow.
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

    def _follow(self, request: HttpRequest) -> Answer:
        for _ in range(_MOST_REDIRECTS):
            answer = self._once(request)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            if request.method not in {"GET", "HEAD"} and answer.status not in {307, 308}:
                return answer
            answer.close()
            request = self._redirected(request, join_url(request.url, location))
        raise NetworkError(f"{place(request.url)}: more than {_MOST_REDIRECTS} redirects")

    def _redirected(self, request: HttpRequest, target: str) -> HttpRequest:
        self.check_address(target)
        headers = dict(request.headers)
        if origin(target) != origin(request.url):
            headers.pop("Authorization", None)
        return replace(request, url=target, headers=headers)

    def check_address(self, url: str) -> None:
        """Raise NetworkError for an address that is not HTTP, or lacks TLS if it is due."""
        parts = split_url(url)
        plain = parts.scheme == "http" and self.settings.allows_plain(parts.netloc)
        if parts.hostname and (parts.scheme == "https" or plain):
            return
        raise NetworkError(
            f"we were sent on to {place(url)}, which is not HTTPS",
            hint="let the proxy before that server set X-Forwarded-Proto, or name its host in "
            "ENVBUILDER_PLAIN_HTTP",
        )

    def _once(self, request: HttpRequest) -> Answer:
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
        except requests.exceptions.InvalidHeader:  # its text is the header: a login, perhaps
            raise NetworkError(f"cannot send a header to {place(request.url)}") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
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


def _retry_after(text: str) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds or a date; None if it is neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
