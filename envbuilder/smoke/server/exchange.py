"""One request to a server that may be hostile, and its answer, within a time limit as a whole.

No redirect is followed and no proxy is asked: what a request carries is the server's alone.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

LARGEST = 4 << 20
"""Bytes of an answer that are read; a chat completion of one token has a few hundred."""


def exchange(
    url: str, headers: Mapping[str, str], body: bytes | None, *, timeout: float
) -> tuple[int, bytes]:
    """Ask ``url`` (with POST if there is a ``body``); return the status and the answer's body.

    ``timeout`` (seconds) bounds all of it: a socket's own limit counts each address, each header
    and each byte anew. Raises TimeoutError, OSError, or HTTPException for what is no HTTP.
    """
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port or kind.default_port, timeout=timeout)
    place = parts._replace(scheme="", netloc="", fragment="").geturl()
    answer: Future[tuple[int, bytes]] = Future()

    def run() -> None:
        try:
            answer.set_result(_asked(connection, place, headers, body))
        except Exception as error:
            answer.set_exception(error)

    # A daemon, for nothing else ends a look-up of a name.
    threading.Thread(target=run, name="exchange", daemon=True).start()
    try:
        return answer.result(timeout)
    finally:
        if not answer.done():
            _cut(connection)


def _asked(
    connection: HTTPConnection, place: str, headers: Mapping[str, str], body: bytes | None
) -> tuple[int, bytes]:
    with contextlib.closing(connection):
        connection.request(
            "GET" if body is None else "POST", place, body, {**headers, "Connection": "close"}
        )
        with connection.getresponse() as found:
            return found.status, found.read(LARGEST)


def _cut(connection: HTTPConnection) -> None:
    """Let the thread end that waits for ``connection``, if it got that far."""
    sock: socket.socket | None = connection.sock
    with contextlib.suppress(OSError):  # the other side may have closed it just now
        if sock is not None:
            sock.shutdown(socket.SHUT_RDWR)
