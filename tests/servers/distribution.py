"""Debian's docker-registry as a process on loopback: plain, with passwords, TLS or tokens."""

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .certificates import Pair, authority, server_certificate

PROGRAM = "docker-registry"
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)")
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
    config = _config(folder)
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
    with _process(folder) as port:
        yield Server(
            host=f"localhost:{port}" if tls else f"127.0.0.1:{port}", storage=folder / "data", ca=ca
        )


def _config(folder: Path) -> dict:
    return {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": True},
        },
        "http": {"addr": "127.0.0.1:0", "secret": "tests"},
    }


@contextlib.contextmanager
def _process(folder: Path) -> Iterator[int]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "serve", str(folder / "config.yml")], stdout=output, stderr=output
        )
    try:
        yield _port(process, log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen, log: Path) -> int:
    """Wait until the registry says which free port it was given."""
    for _ in range(200):
        match = _LISTENING.search(log.read_text())
        if match is not None:
            return int(match[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{PROGRAM} does not listen: {log.read_text()[-2000:]}")
