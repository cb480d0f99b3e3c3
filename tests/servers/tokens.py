"""A token server in the manner of Docker's: signed web tokens for a password or identity token."""

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .certificates import Pair, authority
from .distribution import PASSWORD, USER
from .scripted import Call, Scripted, Seen, scripted

IDENTITY = "identity-token-of-tester"


@dataclass(kw_only=True)
class TokenServer:
    """Grant what is asked to who knows the password; ``seconds`` is how long a token lasts."""

    root: Pair = field(default_factory=authority)
    seconds: int = 60
    server: Scripted | None = None

    @property
    def realm(self) -> str:
        """The address that a registry names in its challenge."""
        assert self.server is not None
        return f"http://{self.server.host}/token"

    def respond(self, call: Call, request: Seen) -> None:
        """Answer one request for a token."""
        if request.method == "POST":
            asked = parse_qs(request.body.decode())
            known = asked.get("refresh_token") == [IDENTITY]
            scopes = asked.get("scope", [""])[0].split()
        else:
            asked = parse_qs(urlsplit(request.path).query)
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            known = request.headers.get("Authorization") == f"Basic {pair}"
            scopes = asked.get("scope", [])
        if not known:
            call.answer(401, b'{"details": "incorrect username or password"}')
            return
        token = self._token(asked.get("service", [""])[0], scopes)
        body = {"access_token": token, "expires_in": self.seconds}
        call.answer(200, json.dumps(body).encode(), Content_Type="application/json")

    def _token(self, service: str, scopes: list[str]) -> str:
        der = self.root.certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": "tests", "sub": USER, "aud": service, "exp": now + self.seconds,
            "nbf": now - 10, "iat": now, "jti": str(time.monotonic_ns()), "access": access,
        }  # fmt: skip
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        der_signature = self.root.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der_signature)
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@contextlib.contextmanager
def token_server(*, seconds: int = 60) -> Iterator[TokenServer]:
    """Serve tokens on loopback."""
    tokens = TokenServer(seconds=seconds)
    with scripted(tokens.respond) as server:
        tokens.server = server
        yield tokens


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
