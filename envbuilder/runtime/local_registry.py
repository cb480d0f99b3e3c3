"""Serve one image on loopback, as a registry that can only be read and knows nothing else.

A Docker daemon that pulls from it asks for the layers that it lacks, and for no others. Source: OCI
distribution-spec 1.1, "Pull". Docker takes plain HTTP from 127.0.0.0/8 without being told to.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from envbuilder.model.image import Image
from envbuilder.net.http_server import HOST, serving
from envbuilder.storage.store import Store

_NAME = "envbuilder"
_CHUNK = 1 << 20
_TLS_HANDSHAKE = b"\x16"
_BLOB = "application/octet-stream"

Document = tuple[str, bytes | Path]


@dataclass(slots=True, kw_only=True)
class LocalRegistry:
    """A running registry; ``repository`` is what to pull from, by the tag that was given.

    ``visited`` says whether anybody came: a daemon on another host, or in a VM, cannot.
    """

    documents: Mapping[str, Document]
    on_sent: Callable[[int], None] | None
    repository: str = ""
    visited: bool = False


@contextmanager
def local_registry(
    image: Image, store: Store, *, tag: str, on_sent: Callable[[int], None] | None = None
) -> Iterator[LocalRegistry]:
    """Serve ``image`` as ``tag``; ``on_sent`` hears of the blob bytes as they leave."""
    manifest = (image.media_type, image.manifest)
    documents: dict[str, Document] = {
        f"manifests/{tag}": manifest,
        f"manifests/{image.digest}": manifest,
        f"blobs/{image.config_digest}": (_BLOB, image.config),
    }
    for layer in image.layers:
        documents[f"blobs/{layer.digest}"] = (_BLOB, store.path(layer.digest))
    made = LocalRegistry(documents=documents, on_sent=on_sent)
    with serving(partial(_Handler, made)) as port:
        made.repository = f"{HOST}:{port}/{_NAME}"
        yield made


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, registry: LocalRegistry, *args: Any) -> None:  # noqa: ANN401
        self._registry = registry
        super().__init__(*args)

    def handle(self) -> None:
        """Serve a connection, unless it greets with TLS, which Docker tries first.

        containerd turns to plain HTTP only where the answer to its greeting begins with HTTP/.
        """
        if self.connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE:
            self.connection.recv(_CHUNK)  # what is left unread would reset the connection
            self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            return
        super().handle()

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet: what goes wrong reaches us through the daemon."""

    def _answer(self, *, send_body: bool) -> None:
        self._registry.visited = True
        if self.path == "/v2/":
            self._head(HTTPStatus.OK, "application/json", 0)
            return
        key = self.path.removeprefix(f"/v2/{_NAME}/")
        if key not in self._registry.documents:
            self._head(HTTPStatus.NOT_FOUND, "application/json", 0)
            return
        media_type, content = self._registry.documents[key]
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self._head(HTTPStatus.OK, media_type, size)
        if send_body:
            self._body(content)

    def _head(self, status: HTTPStatus, media_type: str, size: int) -> None:
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def _body(self, content: bytes | Path) -> None:
        if isinstance(content, bytes):
            self.wfile.write(content)
            return
        with content.open("rb") as blob:
            while piece := blob.read(_CHUNK):
                self.wfile.write(piece)
                if self._registry.on_sent is not None:
                    self._registry.on_sent(len(piece))
