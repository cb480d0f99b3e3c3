"""How this machine reaches registries: proxies, certificates, time limits, and where TLS is due.

``requests`` would read the environment itself, and ``~/.netrc`` with it, whose password then
overwrites ours and travels to storage hosts after a redirect. So the environment is read here,
once, and every connection gets its settings passed in.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from envbuilder.model.errors import UsageError

from .no_proxy import bypasses

CERTIFICATES = Path("/etc/docker/certs.d")
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")  # the first that is set
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a connection needs to know; times are seconds.

    ``proxies`` are by scheme, ``no_proxy`` is as :func:`bypasses` reads it. ``authorities`` is a
    PEM file of certificates, or a folder of such under the names that OpenSSL hashes them to.
    ``plain_http`` names the registries that may be spoken to without TLS; loopback ones always
    may. ``read_seconds`` is the longest silence, ``slowest`` the fewest bytes per second that a
    body may come with, ``longest_wait`` the longest Retry-After that is waited for.
    """

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    no_proxy: str = ""
    authorities: Path | None = None
    certificates: Path = CERTIFICATES
    plain_http: frozenset[str] = frozenset()
    connect_seconds: float = 20
    read_seconds: float = 120
    slowest: int = 512
    attempts: int = 5
    backoff: float = 0.5
    longest_wait: float = 60

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read proxies, authorities and ENVBUILDER_PLAIN_HTTP (registries, comma-separated).

        Raises UsageError if the authorities are not there.
        """
        every = _proxy(environ, "all")
        proxies = {scheme: _proxy(environ, scheme) or every for scheme in _PORTS}
        variable = next((name for name in _AUTHORITIES if environ.get(name)), "")
        named = environ.get(variable)
        if named and not Path(named).exists():
            raise UsageError(
                f"the CA file {named} does not exist",
                hint=f"set {variable} to a PEM file, or to a folder of hashed ones, or unset it",
            )
        plain = environ.get("ENVBUILDER_PLAIN_HTTP", "").split(",")
        return cls(
            proxies={scheme: proxy for scheme, proxy in proxies.items() if proxy},
            no_proxy=_proxy(environ, "no"),
            authorities=Path(named) if named else None,
            plain_http=frozenset(name.strip() for name in plain if name.strip()),
        )

    def allows_plain(self, host: str) -> bool:
        """Return whether ``host`` (HOST or HOST:PORT) may be spoken to without TLS."""
        return host in self.plain_http or is_loopback(host)

    def proxy_for(self, url: str) -> dict[str, str]:
        """Return the proxy for ``url`` as requests wants it; none for loopback and NO_PROXY."""
        parts = urlsplit(url)
        proxy, host = self.proxies.get(parts.scheme), parts.hostname or ""
        if proxy is None or is_loopback(parts.netloc):
            return {}
        if bypasses(host, parts.port or _PORTS[parts.scheme], self.no_proxy):
            return {}
        return {parts.scheme: proxy}

    def tls_context(self, registry: str) -> ssl.SSLContext:
        """Trust the system's authorities, those named, and Docker's ``certs.d/REGISTRY``.

        Raises UsageError for a file that is no certificate, or has no fitting key beside it.
        """
        context = ssl.create_default_context()
        folder, named = self.certificates / registry, self.authorities
        if named is not None and named.is_dir():
            context.load_verify_locations(capath=named)
        files = [named] if named is not None and not named.is_dir() else []
        for authority in (*files, *sorted(folder.glob("*.crt"))):
            with _named(authority):
                context.load_verify_locations(authority)
        for certificate in sorted(folder.glob("*.cert")):
            with _named(certificate):
                context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        return context

    def base_url(self, registry: str) -> str:
        """Return ``https://HOST`` or, if that is allowed and nothing else answers, ``http://``."""
        host = "registry-1.docker.io" if registry == "docker.io" else registry
        if registry in self.plain_http:
            return f"http://{host}"
        if is_loopback(host) and not _speaks_tls(host, self.connect_seconds):
            return f"http://{host}"
        return f"https://{host}"


def _proxy(environ: Mapping[str, str], scheme: str) -> str:
    """Read SCHEME_PROXY; of two spellings the lower-case one wins, as in curl and requests."""
    name = f"{scheme}_proxy"
    return environ.get(name) or environ.get(name.upper()) or ""


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Say which file it is that OpenSSL does not take."""
    try:
        yield
    except OSError as error:
        kind = "certificate with its .key beside it" if file.suffix == ".cert" else "CA"
        raise UsageError(f"{file} holds no {kind} in PEM: {error.strerror}") from error


def is_loopback(host: str) -> bool:
    """Return whether ``host`` (HOST or HOST:PORT) is this machine by its very name."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _speaks_tls(host: str, seconds: float) -> bool:
    """Try a handshake that trusts nothing and sends nothing: only its first answer counts."""
    parts = urlsplit(f"//{host}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (parts.hostname or "", parts.port or 443)
    try:
        with (
            socket.create_connection(address, timeout=min(seconds, 5)) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname),
        ):
            return True
    except OSError:
        return False
