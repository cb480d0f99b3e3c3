"""A server in front of another: it hands on what that one says, or turns hostile."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

from tests.siege.mutate import mutated

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the honest server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Mood = Callable[["Call", Answer, Random], None]


@dataclass(kw_only=True)
class Door:
    """Where the door is, HOST:PORT, and in which mood: None hands everything on."""

    host: str = ""
    mood: Mood | None = None
    random: Random
    skip: int = 0
    """How many answers still go through unharmed."""

    def turn(self) -> Mood | None:
        """Return the mood for the next answer."""
        if self.skip:
            self.skip -= 1
            return None
        return self.mood


class Call(BaseHTTPRequestHandler):
    """One request under way."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # who speaks TLS hears of HTTP, by which BuildKit knows it

    def send(self, answer: Answer, *, length: int | None = None) -> None:
        """Send an answer; ``length`` is what its head promises, the body's by default."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        if self.command == "HEAD" and "Content-Length" in answer.headers:
            self.send_header("Content-Length", answer.headers["Content-Length"])
        else:
            self.send_header("Content-Length", str(len(answer.body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def hang_up(self) -> None:
        """Close the connection, whatever was sent."""
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def door(backend: str, random: Random) -> Iterator[Door]:
    """Open a door before the server at ``backend`` (HOST:PORT)."""
    made = Door(random=random)

    class Handler(Call):
        def _do(self) -> None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, ValueError):
                answer = _ask(backend, self)
                mood = made.turn()
                if mood is None:
                    self.send(answer)
                else:
                    mood(self, answer, made.random)
                    self.close_connection = True  # what comes is over: nobody waits two minutes

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._do)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients die here
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.host = f"127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _ask(backend: str, call: Call) -> Answer:
    if call.headers.get("Transfer-Encoding", "").lower() == "chunked":
        pieces = []
        while size := int(call.rfile.readline(), 16):
            pieces.append(call.rfile.read(size))
            call.rfile.readline()
        call.rfile.readline()
        body = b"".join(pieces)
    else:
        body = call.rfile.read(int(call.headers.get("Content-Length", 0)))
    connection = http.client.HTTPConnection(backend, timeout=60)
    try:
        headers = {k: v for k, v in call.headers.items() if k.lower() not in _HOP}
        connection.request(call.command, call.path, body=body, headers=headers)
        answer = connection.getresponse()
        return Answer(status=answer.status, headers=dict(answer.getheaders()), body=answer.read())
    finally:
        connection.close()


# -- moods ------------------------------------------------------------------------------------


def garbled(call: Call, answer: Answer, random: Random) -> None:
    call.send(
        Answer(status=answer.status, headers=answer.headers, body=mutated(answer.body, random))
    )


def cut_off(call: Call, answer: Answer, random: Random) -> None:
    kept = answer.body[: random.randrange(len(answer.body) + 1)]
    cut = Answer(status=answer.status, headers=answer.headers, body=kept)
    call.send(cut, length=len(answer.body) + random.choice((0, 1, 1 << 40)))
    call.hang_up()


def another_status(call: Call, answer: Answer, random: Random) -> None:
    status = random.choice((100, 204, 206, 301, 304, 400, 401, 403, 404, 416, 429, 500, 503, 999))
    headers = dict(answer.headers)
    headers |= random.choice(
        (
            {}, {"Location": call.path}, {"Location": "http://127.0.0.1:1/"}, {"Location": "//"},
            {"Location": "file:///etc/passwd"}, {"Retry-After": "99999999"}, {"Retry-After": "x"},
            {"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'},
            {"WWW-Authenticate": f'Bearer realm="http://127.0.0.1:1/",scope="{"x" * 9000}'},
            {"Content-Range": "bytes 5-2/1"}, {"Content-Range": f"bytes 0-{1 << 70}/*"},
        )
    )  # fmt: skip
    call.send(Answer(status=status, headers=headers, body=answer.body))


def odd_headers(call: Call, answer: Answer, random: Random) -> None:
    name = random.choice(
        ("Content-Type", "Docker-Content-Digest", "Location", "Link", "Content-Encoding",
         "ETag", "Range", "Docker-Upload-UUID", "OCI-Subject", "Date", "X-PyPI-Last-Serial")
    )  # fmt: skip
    value = random.choice(
        ("", "x" * 60_000, "sha256:" + "0" * 64, "sha256:\xff", "gzip", "br",
         "text/html; charset=\xe9", "text/html; charset=utf-7",
         "application/vnd.oci.image.index.v1+json", "</v2/x?n=1>; rel=next", "bytes=-1",
         "-1", "0-99999999999999999999")
    )  # fmt: skip
    call.send(
        Answer(status=answer.status, headers={**answer.headers, name: value}, body=answer.body)
    )


def endless(call: Call, answer: Answer, random: Random) -> None:
    """Send up to 10 MB that were not asked for, without a length."""
    call.send_response(answer.status)
    call.send_header("Content-Type", answer.headers.get("Content-Type", "text/html"))
    call.end_headers()
    piece = random.choice((b"\0", b" ", b"[", b"<a>", b'{"a":', b"\n", b"x")) * _PIECE
    for _ in range((10 << 20) // len(piece)):
        call.wfile.write(piece)
    call.hang_up()


def bomb(call: Call, answer: Answer, random: Random) -> None:
    """Send ten megabytes that inflate to far more."""
    body = gzip.compress(bytes(1 << 20), 9) * random.choice((1, 100, 2000))
    headers = {**answer.headers, "Content-Encoding": "gzip"}
    call.send(Answer(status=answer.status, headers=headers, body=body))


def silence(call: Call, _: Answer, random: Random) -> None:
    """Say nothing, or half of the head, and hang up."""
    call.wfile.write(
        random.choice((b"", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"\0" * 500, b"SSH-2.0\r\n"))
    )
    time.sleep(random.choice((0, 0.5)))
    call.hang_up()


MOODS: tuple[Mood, ...] = (
    garbled, garbled, cut_off, another_status, odd_headers, endless, bomb, silence,
)  # fmt: skip
