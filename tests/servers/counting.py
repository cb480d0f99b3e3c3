"""A relay before a server that counts the bytes and HTTP requests which pass it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_METHODS = (b"GET ", b"HEAD ", b"PUT ", b"POST ", b"PATCH ", b"DELETE ")


@dataclass(kw_only=True)
class Counter:
    """What passed so far; ``host`` is where the relay listens."""

    host: str
    sent: int = 0
    received: int = 0
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def counted(target: str) -> Iterator[Counter]:
    """Relay a loopback port to ``target`` (HOST:PORT), counting at the socket."""
    host, _, port = target.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        counter = Counter(host=f"127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(
            target=_accept, args=(listener, (host, int(port)), counter), daemon=True
        )
        thread.start()
        yield counter
        # accept() is only woken by a shutdown, not by a close.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listener: socket.socket, target: tuple[str, int], counter: Counter) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            arguments = (client, target, counter)
            threading.Thread(target=_connect, args=arguments, daemon=True).start()


def _connect(client: socket.socket, target: tuple[str, int], counter: Counter) -> None:
    with client, socket.create_connection(target) as server:
        back = threading.Thread(target=_relay, args=(server, client, counter, False), daemon=True)
        back.start()
        _relay(client, server, counter, True)
        back.join()


def _relay(source: socket.socket, sink: socket.socket, counter: Counter, ours: bool) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 18):
            if ours:
                counter.sent += len(data)
                if data.startswith(_METHODS):
                    counter.requests.append(data.split(b"\r\n", 1)[0].decode())
            else:
                counter.received += len(data)
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
