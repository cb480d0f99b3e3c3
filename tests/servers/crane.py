"""The registry of go-containerregistry: ``crane registry serve``, from Debian, with a folder."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import requests

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".crane"


def crane(*arguments: str) -> str:
    """Run crane; give what it said."""
    return _run("crane", *arguments)


def oras(*arguments: str) -> str:
    """Run oras; give what it said."""
    return _run("oras", *arguments)


def _run(name: str, *arguments: str) -> str:
    """Run a program, brought from Debian first if it is not there."""
    if not (FOLDER / name).exists():
        subprocess.run([ROOT / "tests/debian_tool.sh", "sid", name, FOLDER], check=True)
    command = [FOLDER / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@contextlib.contextmanager
def crane_registry(folder: Path) -> Iterator[str]:
    """Serve ``folder`` on loopback; give HOST:PORT."""
    crane("version")
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    command = [FOLDER / "crane", "registry", "serve", f"--address={host}", f"--disk={folder}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(host, process)
            yield host
        finally:
            process.terminate()


def _wait(host: str, process: subprocess.Popen) -> None:
    for _ in range(200):
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"http://{host}/v2/", timeout=5).ok:
                return
        assert process.poll() is None, "crane's registry ended"
        time.sleep(0.05)
    raise AssertionError("crane's registry does not answer")
