"""Engines and builders elsewhere: a second Docker Engine with little disk, one behind SSH, and a
BuildKit behind a plain port."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.certificates import Pair, server_certificate

PLUGINS = ("/local/lib", "/local/libexec", "/lib", "/libexec")
"""Where docker looks for everybody's plugins, below /usr."""


def _root() -> Path:
    """Say where the engine's programs lie, and sshd's (``tests/engine.sh``)."""
    found = shutil.which("docker")
    assert found, "docker is not on PATH: make engine"
    return Path(found).parents[2]


@contextmanager
def small_engine(folder: Path, *, disk: str, containerd_store: bool = True) -> Iterator[str]:
    """Start a Docker Engine whose data lie on a tmpfs of size ``disk``; yield its socket's URL.

    It has mounts and a network of its own, which vanish with it: builds there have a bridge, as on
    other people's machines, but nothing beyond it.
    """
    folder.mkdir()
    features = f'{{"features": {{"containerd-snapshotter": {str(containerd_store).lower()}}}}}'
    (folder / "daemon.json").write_text(features)
    (folder / "data").mkdir()
    # A socket's path has 104 characters at most, and tests that run side by side have long ones.
    with tempfile.TemporaryDirectory(prefix="engine-") as short:
        yield from _started(folder, Path(short), disk)


def _started(folder: Path, short: Path, disk: str) -> Iterator[str]:
    url = f"unix://{short}/docker.sock"
    script = (
        f"ip link set lo up && mount -t tmpfs -o size={disk} none {folder}/data && "
        f"exec dockerd --config-file {folder}/daemon.json --host {url} --data-root {folder}/data "
        f"--exec-root {short}/exec --pidfile {folder}/pid --iptables=false --ip6tables=false "
        "--exec-opt native.cgroupdriver=cgroupfs"
    )
    path = f"{_root()}/usr/sbin:{_root()}/usr/bin:{os.environ['PATH']}"
    command = ["unshare", "--mount", "--net", "sh", "-c", script]
    with running(command, folder / "log", PATH=path):
        wait_for(lambda: _ends_well("docker", "--host", url, "version"), folder / "log")
        yield url


@contextmanager
def ssh_to_engine(folder: Path) -> Iterator[str]:
    """Let an SSH server on loopback give access to the engine of ``DOCKER_HOST``; yield its URL.

    ``folder/bin``, which must be first on PATH, has an ssh that knows key and host.
    """
    root = _root()
    (folder / "bin").mkdir(parents=True)
    for name in ("key", "host"):
        subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/key.pub\nStrictModes no\nPasswordAuthentication no\n"
        f"SetEnv DOCKER_HOST={os.environ['DOCKER_HOST']} PATH={root}/usr/bin:/usr/bin:/bin\n"
    )
    (folder / "bin" / "ssh").write_text(
        f"#!/bin/sh\nexec /usr/bin/ssh -F none -i {folder}/key -o StrictHostKeyChecking=no "
        f'-o UserKnownHostsFile={folder}/known -o LogLevel=ERROR "$@"\n'
    )
    (folder / "bin" / "ssh").chmod(0o755)
    # sshd wants a user and a folder of its own: it sees them, this machine does not get them.
    accounts = Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/:/usr/sbin/nologin\n"
    (folder / "passwd").write_text(accounts)
    libraries = root / "usr/lib" / f"{os.uname().machine}-linux-gnu"
    script = (
        f"mount --bind {folder}/passwd /etc/passwd && mount -t tmpfs none /run && "
        f"mkdir -m 755 /run/sshd && LD_LIBRARY_PATH={libraries} "
        f"exec {root}/usr/sbin/sshd -i -e -f {folder}/sshd_config"
    )

    class Session(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (folder / "log").open("ab") as log:
                command = ["unshare", "--mount", "sh", "-c", script]
                both = self.request
                subprocess.run(command, stdin=both, stdout=both, stderr=log, check=False)

    with _serving(Session) as port:
        yield f"ssh://root@127.0.0.1:{port}"


@contextmanager
def buildkit_port(engine: str) -> Iterator[str]:
    """Offer the BuildKit inside ``engine`` (a unix URL) as a daemon's TCP port; yield its URL."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as inside:
                inside.connect(engine.removeprefix("unix://"))
                inside.sendall(
                    b"POST /grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
                )
                while b"\r\n\r\n" not in (head := inside.recv(1 << 12, socket.MSG_PEEK)):
                    if not head:  # the engine has hung up
                        return
                    time.sleep(0.01)
                inside.recv(head.index(b"\r\n\r\n") + 4)
                back = threading.Thread(target=_pump, args=(inside, self.request))
                back.start()
                _pump(self.request, inside)
                back.join()

    with _serving(Forward) as port:
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def tls_port(plain: str, root: Pair, folder: Path) -> Iterator[str]:
    """Offer a plain TCP port with TLS, which shows and wants a certificate by ``root``."""
    certificate, key = server_certificate(root).write(folder, "server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    tls.load_verify_locations(root.write(folder, "root")[0])
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.set_alpn_protocols(["h2"])
    host, _, port = plain.removeprefix("tcp://").partition(":")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        serving = asyncio.start_server(forward, "127.0.0.1", 0, ssl=tls)
        server = asyncio.run_coroutine_threadsafe(serving, loop).result()
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _end() -> None:
    """Cancel all that still runs, the server's connections included."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """Serve a port of loopback, each connection in a thread of its own; yield the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # the other side has closed
        source.close()


@contextmanager
def running(command: list[str], log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the while, and end it with all that it started."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environ},
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(ready: Callable[[], bool], log: Path) -> None:
    """Wait, a minute at most, until a server is ready."""
    for _ in range(300):
        if ready():
            return
        time.sleep(0.2)
    raise RuntimeError(f"it does not come up:\n{log.read_text()[-4000:]}")


def _ends_well(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def docker(*arguments: str) -> None:
    """Run a docker command that must succeed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def docker_without_plugins(folder: Path) -> Path:
    """Make a folder for PATH whose docker does not see the plugins that all users share."""
    places = " ".join(f"/usr{each}/docker/cli-plugins" for each in PLUGINS)
    hide = f'for each in {places}; do [ ! -d "$each" ] || mount -t tmpfs none "$each"; done'
    script = f'{hide}; exec {shutil.which("docker")} "$@"'
    (folder / "bin").mkdir()
    (folder / "bin" / "docker").write_text(
        f"#!/bin/sh\nexec unshare --mount sh -c '{script}' docker \"$@\"\n"
    )
    (folder / "bin" / "docker").chmod(0o755)
    return folder / "bin"


def prune_full_disk() -> None:
    """Prune BuildKit's cache; on a disk that is full to the last block, the first try may not do.

    BuildKit frees what the failed step wrote by and by, and needs a block to write down the rest.
    """
    for _ in range(30):
        if _ends_well("docker", "buildx", "prune", "--all", "--force"):
            return
        time.sleep(1)
    docker("buildx", "prune", "--all", "--force")
