"""A real git server on loopback: git's own http-backend behind a small HTTP server, or git daemon.

It counts the bytes that it sends, and can ask for a login, hide protocol 2, break off or stall.
"""

from __future__ import annotations

import base64
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HTTP_BACKEND = Path("/usr/lib/git-core/git-http-backend")


@dataclass(kw_only=True)
class GitHttp:
    """A running server for the repositories below ``root``; change its fields as you like."""

    root: Path
    url: str = ""
    login: tuple[str, str] | None = None
    protocol_2: bool = True
    break_after: int | None = None
    stall_after: int | None = None
    go_on: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    requests: list[str] = field(default_factory=list)

    def address(self, name: str) -> str:
        return f"{self.url}/{name}"


@contextmanager
def git_http(root: Path) -> Iterator[GitHttp]:
    state = GitHttp(root=root)

    class Handler(_Handler):
        server_state = state

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        state.url = f"http://127.0.0.1:{port}"
        try:
            yield state
        finally:
            state.go_on.set()


class _Handler(BaseHTTPRequestHandler):
    server_state: GitHttp

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self._serve(b"".join(pieces))
        else:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body: bytes) -> None:
        state = self.server_state
        state.requests.append(f"{self.command} {self.path}")
        if state.login is not None and not self._logged_in(state.login):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            [HTTP_BACKEND],
            input=body,
            env=self._cgi(path, query, len(body)),
            capture_output=True,
            check=False,
        )
        self._answer(done.stdout)

    def _answer(self, output: bytes) -> None:
        head, _, content = output.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        limit = self.server_state.break_after
        if limit is not None and len(content) > limit:
            self.wfile.write(content[:limit])
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        stall = self.server_state.stall_after
        if stall is not None and len(content) > stall:
            self.wfile.write(content[:stall])
            self.server_state.go_on.wait()
            return
        self.server_state.sent += len(content)
        self.wfile.write(content)

    def _logged_in(self, login: tuple[str, str]) -> bool:
        token = base64.b64encode(":".join(login).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {token}"

    def _cgi(self, path: str, query: str, length: int) -> dict[str, str]:
        protocol = self.headers.get("Git-Protocol", "") if self.server_state.protocol_2 else ""
        return {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server_state.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": protocol,
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def git_daemon(root: Path) -> Iterator[str]:
    """Serve ``root`` by ``git daemon``, one per connection; yields its ``git://`` URL."""
    command = ["git", "daemon", "--inetd", "--log-destination=none", "--export-all",
               f"--base-path={root}", str(root)]  # fmt: skip

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            subprocess.run(command, stdin=self.request, stdout=self.request, check=False)

    with running(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"git://127.0.0.1:{port}"


@contextmanager
def running(server: socketserver.TCPServer) -> Iterator[int]:
    """Run a server in a thread; yields its port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
