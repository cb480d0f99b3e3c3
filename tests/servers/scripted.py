"""An HTTP server that answers whatever a test wants, also what no server should."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Call(BaseHTTPRequestHandler):
    """One request under way, with shortcuts to answer it."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole, correct answer; underscores in header names become hyphens."""
        self.send_response(status)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **names}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def raw(self, data: bytes) -> None:
        """Send bytes as they are, and close the connection afterwards."""
        self.close_connection = True
        self.wfile.write(data)
        self.wfile.flush()

    def read_body(self) -> bytes:
        """Read the request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A running server, and what it has seen so far."""

    host: str
    seen: list[Seen]

    def paths(self, method: str) -> list[str]:
        """List the paths that were asked with ``method``, in order."""
        return [request.path for request in self.seen if request.method == method]


@contextlib.contextmanager
def scripted(
    respond: Callable[[Call, Seen], None], *, tls: ssl.SSLContext | None = None
) -> Iterator[Scripted]:
    """Serve on loopback, each request by ``respond``, which gets it with its body read."""
    seen: list[Seen] = []

    class Handler(Call):
        def _do(self) -> None:
            body = self.read_body()
            request = Seen(
                method=self.command, path=self.path, headers=dict(self.headers), body=body
            )
            seen.append(request)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                respond(self, request)

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._do)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Scripted(host=f"127.0.0.1:{server.server_port}", seen=seen)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
