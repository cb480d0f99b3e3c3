"""The connections under a Transport: our certificates, larger blocks, and a deadline per answer.

Also the one place that turns the exceptions of requests and urllib3 into ours.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any, NoReturn

import requests.adapters
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from envbuilder.model.errors import NetworkError

from .config import Settings

BLOCK = 256 * 1024  # bytes per send and receive; http.client's own 16 KiB halves the speed


class _NoQueries(logging.Filter):
    """Keep query strings out of urllib3's debug lines: signed addresses open what they name."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            cut = (arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
            record.args = tuple(cut)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_NoQueries())


class _Plain(HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as urllib3 itself
        with _deadline(self):
            return super().getresponse()


class _TLS(HTTPSConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as urllib3 itself
        with _deadline(self):
            return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLS


@contextlib.contextmanager
def _deadline(connection: HTTPConnection) -> Iterator[None]:
    """Return an answer's head a deadline as a whole: socket time-outs count each byte anew."""
    seconds = connection.timeout or 0.0  # urllib3 puts the read time-out here before it reads
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):  # the other side may have closed it just now
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            raise TimeoutError(f"no whole answer within {seconds:g} seconds") from None


class Adapter(requests.adapters.HTTPAdapter):
    """requests' way into urllib3, without its retries: those are the Transport's."""

    def __init__(self, registry: str, settings: Settings) -> None:
        self._certified = partial(settings.tls_context, registry)
        super().__init__(pool_connections=8, pool_maxsize=16, max_retries=0)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """What we trust: read when TLS is spoken, for that takes as long as ten requests."""
        return self._certified()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, D102
        super().init_poolmanager(*args, **kwargs, blocksize=BLOCK)
        _use_ours(self.poolmanager)

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, D102
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        if host["scheme"] == "https":
            pool["ssl_context"] = self._context
        return host, pool

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:  # noqa: ANN401, D102
        manager: urllib3.ProxyManager = super().proxy_manager_for(
            proxy, **kwargs, ssl_context=self._context, blocksize=BLOCK
        )
        _use_ours(manager)
        return manager


def _use_ours(manager: urllib3.PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}


def root(error: BaseException) -> BaseException:
    """Find the innermost cause: the outer ones print whole URLs, and those hold secrets."""
    while True:
        inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if inner is None:
            return error
        error = inner


def reason(error: BaseException) -> str:
    """Say in words that hold no secret why ``error`` happened."""
    cause = root(error)
    return str(cause) or type(cause).__name__


def translate(error: BaseException, message: str, *, hint: str = "") -> NoReturn:
    """Raise NetworkError for ``error`` of requests or urllib3, without its secrets."""
    raise NetworkError(f"{message}: {reason(error)}", hint=hint) from root(error)
