"""One request and its answer, by requests: the only place that calls it."""

from __future__ import annotations

import http.cookiejar
from collections.abc import Iterator

import requests
import urllib3

from envbuilder.model.errors import NetworkError

from .answer import Answer
from .config import Settings
from .connection import BLOCK, Adapter, reason, root, translate
from .messages import Body, BrokenConnectionError, HttpRequest, place


class Session:
    """The connections to one registry and to where it sends us; safe for several threads."""

    def __init__(self, registry: str, settings: Settings) -> None:
        self._settings = settings
        self._session = _NoRedirects()
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = Adapter(registry, settings)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def ask(self, request: HttpRequest) -> Answer:
        """Send ``request`` once, and return its answer, whatever its status.

        Raises BrokenConnectionError if the failure may pass, else NetworkError.
        """
        data = None if request.body is None else _Reader(request.body)
        try:
            response = self._session.request(
                request.method,
                request.url,
                headers={"Accept-Encoding": "identity", **request.headers},
                data=data,
                stream=True,
                allow_redirects=False,
                proxies=self._settings.proxy_for(request.url),
                timeout=(self._settings.connect_seconds, self._settings.read_seconds),
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
        return Answer(response, self._settings)


class _NoRedirects(requests.Session):
    """A session that leaves redirects alone: requests would read their bodies, endless or not."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


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
