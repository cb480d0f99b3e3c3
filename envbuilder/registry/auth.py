"""Logging in to a registry: read its challenge, fetch a token, hold it until it expires.

Source: RFC 9110 section 11 (challenges), distribution's "Token Authentication Specification" and
"OAuth2 Token Authentication". One :class:`Authorizer` serves all threads that speak to a registry.
"""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from envbuilder.model.errors import NetworkError
from envbuilder.net.messages import Body, HttpRequest, parse_json, place, split_url
from envbuilder.net.transport import Transport

from .credentials import Credential, is_token
from .login_hints import login_hint

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  (RFC 9110's name for a word)
_PARAMETER = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|$)')
_SCHEME = re.compile(
    rf"({_TOKEN})(?:\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$)))?(?:\s|,|$)"  # with a token68, if any
)
_TOKEN_LIMIT = 1 << 20  # bytes
_DEFAULT_SECONDS = 60.0  # what the token specification says where expires_in is missing
_CLIENT = "envbuilder"


class RefusedError(NetworkError):
    """The registry lets us in with none of the logins that we have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to log in that a server offers: the scheme, and parameters by lower-case name."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Parse WWW-Authenticate, which may hold several challenges; what is no grammar ends it."""
    found: list[tuple[str, dict[str, str]]] = []
    rest = header.strip()
    while rest:
        if found and (match := _PARAMETER.match(rest)):
            value = match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
            found[-1][1].setdefault(match[1].lower(), value)
        elif match := _SCHEME.match(rest):
            found.append((match[1].lower(), {}))
        else:
            break
        rest = rest[match.end() :].lstrip(" \t,")
    return tuple(Challenge(scheme=scheme, parameters=values) for scheme, values in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ticket:
    header: str
    expires: float


class Authorizer:
    """Return the Authorization header for a set of scopes, fetching tokens when asked for them."""

    def __init__(self, transport: Transport, registry: str, credential: Credential) -> None:
        self._transport = transport
        self._registry = registry
        self._credential = credential
        self._tickets: dict[frozenset[str], _Ticket] = {}
        self._lock = threading.Lock()

    def header(self, scopes: frozenset[str]) -> str | None:
        """Return the header that last worked for ``scopes``, or None: go and get challenged."""
        if self._credential.registry_token:
            return f"Bearer {self._credential.registry_token}"
        ticket = self._tickets.get(scopes)
        return ticket.header if ticket and time.monotonic() < ticket.expires else None

    def renew(self, scopes: frozenset[str], refused: str | None, challenge: str) -> str:
        """Answer ``challenge`` (WWW-Authenticate) after ``refused`` was not enough.

        Raises NetworkError if we have nothing better to offer.
        """
        with self._lock:
            current = self.header(scopes)
            if current is not None and current != refused:
                return current  # another thread was faster
            ticket = self._answer(scopes, refused, parse_challenges(challenge))
            self._tickets[scopes] = ticket
            return ticket.header

    def forget(self, scopes: frozenset[str], refused: str) -> None:
        """Drop the header that worked for ``scopes`` if it is ``refused``: it works no longer."""
        with self._lock:
            ticket = self._tickets.get(scopes)
            if ticket is not None and ticket.header == refused:
                del self._tickets[scopes]

    def redact(self, text: str) -> str:
        """Take every secret that we hold out of ``text``, in case a server echoes one."""
        tickets = (ticket.header.partition(" ")[2] for ticket in tuple(self._tickets.values()))
        for secret in (*self._credential.secrets, *tickets):
            text = text.replace(secret, "***")
        return text

    def _answer(
        self, scopes: frozenset[str], refused: str | None, challenges: tuple[Challenge, ...]
    ) -> _Ticket:
        for challenge in challenges:
            if challenge.scheme == "bearer" and not self._credential.registry_token:
                return self._fetch(scopes, challenge.parameters)
        for challenge in challenges:
            if challenge.scheme == "basic" and self._credential.username:
                if refused == self._credential.basic:
                    break
                return _Ticket(header=self._credential.basic, expires=float("inf"))
        raise self.refusal()

    def refusal(self) -> RefusedError:
        """Make the error for a registry that does not let us in."""
        known = "refused the login that Docker's or Podman's configuration holds"
        state = known if self._credential else "asks for a login"
        return RefusedError(f"{self._registry} {state}", hint=login_hint(self._registry))

    def _fetch(self, scopes: frozenset[str], parameters: Mapping[str, str]) -> _Ticket:
        realm = parameters.get("realm", "")
        self._transport.check_address(realm)
        request = self._token_request(realm, sorted(scopes), parameters.get("service", ""))
        with self._transport.send(request) as answer:
            if answer.status in {400, 401, 403}:
                raise self.refusal()
            if answer.status != 200:
                raise NetworkError(f"{place(realm)} gave no token: status {answer.status}")
            content = answer.read(_TOKEN_LIMIT)
        fields = parse_json(content, f"the answer of {place(realm)}")
        try:
            token = fields.get("token") or fields["access_token"]
            seconds = float(fields.get("expires_in") or _DEFAULT_SECONDS)
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
            token, seconds = "", 0.0
        if not is_token(token):
            raise NetworkError(f"{place(realm)} gave an answer without a token")
        # A tenth is kept in hand: a token that ends on its way is refused.
        return _Ticket(header=f"Bearer {token}", expires=time.monotonic() + 0.9 * seconds)

    def _token_request(self, realm: str, scopes: list[str], service: str) -> HttpRequest:
        credential = self._credential
        if credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "client_id": _CLIENT,
                "service": service,
                "scope": " ".join(scopes),
                "refresh_token": credential.identity_token,
            }
            body = urlencode(form).encode()
            return HttpRequest(
                method="POST",
                url=realm,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=Body(size=len(body), open=lambda: io.BytesIO(body)),
            )
        parts = split_url(realm)
        query = parse_qsl(parts.query) + [("scope", scope) for scope in scopes]
        if service:
            query.append(("service", service))
        url = parts._replace(query=urlencode(query)).geturl()
        headers = {"Authorization": credential.basic} if credential.username else {}
        return HttpRequest(method="GET", url=url, headers=headers)
