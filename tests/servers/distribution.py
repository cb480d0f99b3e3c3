"""Debian's docker-registry as a process on loopback: plain, with passwords, TLS or tokens."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .certificates import Pair, authority, server_certificate

PROGRAM = "docker-registry"
USER, PASSWORD = "tester", "correct horse"
# bcrypt of PASSWORD: the only scheme that docker-registry reads, and Python has none built in.
_HTPASSWD = f"{USER}:$2b$04$8kmKxRjR4ZAymFJN7.JfkOkJwsjtICqG3yYjzjXOliFZ.cnTzByTy\n"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running registry: ``host`` is 127.0.0.1:PORT or localhost:PORT."""

    host: str
    storage: Path
    ca: Path | None = None

    def blob_path(self, hex_digest: str) -> Path:
        """Name the file that holds a blob, so that a test can damage it."""
        blobs = self.storage / "docker/registry/v2/blobs/sha256"
        return blobs / hex_digest[:2] / hex_digest / "data"


@contextlib.contextmanager
def registry(
    folder: Path,
    *,
    passwords: bool = False,
    tls: bool = False,
    token_realm: str = "",
    token_root: Pair | None = None,
) -> Iterator[Server]:
    """Start a registry that keeps its data under ``folder``; end it at the end."""
    if shutil.which(PROGRAM) is None:
        raise RuntimeError(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = _config(folder, port)
    ca = None
    if passwords:
        (folder / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    if token_root is not None:
        bundle, _ = token_root.write(folder, "token")
        config["auth"] = {
            "token": {
                "realm": token_realm,
                "service": "tests",
                "issuer": "tests",
                "rootcertbundle": str(bundle),
            }
        }
    if tls:
        root = authority()
        ca, _ = root.write(folder, "ca")
        certificate, key = server_certificate(root).write(folder, "server")
        config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
    # JSON is YAML, and spares the tests a second way of quoting.
    (folder / "config.yml").write_text(json.dumps(config))
    with _process(folder, port):
        yield Server(
            host=f"localhost:{port}" if tls else f"127.0.0.1:{port}", storage=folder / "data", ca=ca
        )


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(folder: Path, port: int) -> dict:
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": "tests"},
    }


@contextlib.contextmanager
def _process(folder: Path, port: int) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "serve", str(folder / "config.yml")], stdout=output, stderr=output
        )
    try:
        _wait(port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(port: int, process: subprocess.Popen, log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"{PROGRAM} ended at once: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{PROGRAM} does not listen: {log.read_text()[-2000:]}")
