"""A Docker Engine on loopback that knows a few answers, and hangs up at any other question."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

from envbuilder.net.http_server import serving

ANSWERS = {
    "/version": {"ApiVersion": "1.45"},
    "/containers/json": [],
    "/images/json": [],
    "/images/create": {"status": "pulled"},
    "/containers/create": {"Id": "c"},
    "/containers/c/json": {"Id": "c"},
}


@contextmanager
def engine(answers: Mapping[str, Any]) -> Iterator[str]:
    """Give ``answers`` (path -> JSON) for the while; yield what DOCKER_HOST is to be."""
    with serving(partial(_Handler, answers)) as port:
        yield f"tcp://127.0.0.1:{port}"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, answers: Mapping[str, Any], *args: Any) -> None:
        self._answers = answers
        super().__init__(*args)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/v1.45")
        if path in self._answers:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(self._answers[path]).encode())

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
