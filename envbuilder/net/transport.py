"""HTTP as a hostile network needs it: bounded, retried, redirected without our credentials.

A :class:`Transport` speaks for one registry. It knows nothing of image formats or logins; it sends
one :class:`HttpRequest` and gives an :class:`Answer`, or raises NetworkError.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from envbuilder.model.errors import NetworkError

from .messages import (
    TRANSIENT,
    BrokenConnectionError,
    HttpRequest,
    join_url,
    origin,
    place,
    split_url,
)

if TYPE_CHECKING:
    from .answer import Answer
    from .config import Settings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 6


class Transport:
    """Send requests on behalf of one registry; safe to use from several threads."""

    def __init__(self, registry: str, settings: Settings) -> None:
        from .session import Session  # noqa: PLC0415 (requests is a tenth of a start that asks nothing)

        self.settings = settings
        self._session = Session(registry, settings)

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
            answer = self._session.ask(request)
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


def _retry_after(text: str) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds or a date; None if it is neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
