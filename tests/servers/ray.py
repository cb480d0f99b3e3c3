"""A real Ray on loopback: a head and further machines, each with an environment of its own.

Ray listens on all interfaces, so whoever starts this stands in a network namespace that has none
but loopback (``make ray``). Each machine has an address of 127.0.0.0/8.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SECONDS = 120  # in which a machine must have come up
_HEAD = "127.0.0.2"
_GCS_PORT = 6399


@dataclass(kw_only=True)
class Machine:
    """One machine: what ``ray start`` gets, and the variables that its jobs see.

    ``processor`` is the number of the only one that it may use; None if it may use all.
    """

    name: str
    gpu: str = ""
    cpus: int = 2
    processor: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    def arguments(self, address: str) -> list[str]:
        labels = f"site={self.name}" + (f",ray.io/accelerator-type={self.gpu}" if self.gpu else "")
        gpus = ["--num-gpus", "1"] if self.gpu else ["--num-gpus", "0"]
        ports = ["--min-worker-port", "0", "--max-worker-port", "0"]
        agent = str(52365 + int(address.rpartition(".")[2]))  # each listens on 127.0.0.1, too
        ports += ["--dashboard-agent-listen-port", agent]
        memory = ["--memory", str(32 << 30), "--object-store-memory", str(100 << 20)]
        cpus = ["--num-cpus", str(self.cpus)]
        return ["--node-ip-address", address, "--labels", labels, *cpus, *gpus, *ports, *memory]

    def kill(self) -> None:
        """End all of it at once, as a machine does whose power fails."""
        if self.process is not None:
            for pid in _below(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@dataclass(kw_only=True)
class Cluster:
    """A running cluster: ``url`` is its dashboard's."""

    url: str
    folder: Path
    sockets: Path
    python: Path
    machines: list[Machine]

    def start(self, machine: Machine, *, env: Mapping[str, str]) -> None:
        """Start a machine, the first one as the head, and wait until Ray knows it.

        On a busy host Ray gives up after 30 seconds of its own: it is tried three times.
        """
        for tries in (2, 1, 0):
            try:
                self._start(machine, env=env)
            except RuntimeError:
                machine.kill()
                if not tries:
                    raise
            else:
                return

    def _start(self, machine: Machine, *, env: Mapping[str, str]) -> None:
        before = self._alive(env)  # a machine that was killed a moment ago is among them
        number = self.machines.index(machine)
        address = f"127.0.0.{number + 2}"
        port = self.url.rpartition(":")[2]
        if number == 0:
            more = ["--head", "--port", str(_GCS_PORT), "--dashboard-host", "127.0.0.1",
                    "--dashboard-port", port, "--temp-dir", str(self.sockets)]  # fmt: skip
        else:
            more = ["--address", f"{_HEAD}:{_GCS_PORT}"]
        path = f"{self.python.parent}:{os.environ['PATH']}"
        pinned = [] if machine.processor is None else ["taskset", "-c", str(machine.processor)]
        with (self.folder / f"{machine.name}.log").open("wb") as log:
            machine.process = subprocess.Popen(
                [
                    *pinned,
                    self.python.parent / "ray",
                    "start",
                    *more,
                    *machine.arguments(address),
                    "--block",
                ],
                env={
                    **os.environ,
                    "PATH": path,
                    "RAY_USAGE_STATS_ENABLED": "0",
                    **env,
                    **machine.env,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait(machine, address, env, before=before)

    def _wait(
        self, machine: Machine, address: str, env: Mapping[str, str], *, before: Mapping[str, str]
    ) -> None:
        end = time.monotonic() + _SECONDS
        while address not in (ip for node, ip in self._alive(env).items() if node not in before):
            assert machine.process is not None
            if time.monotonic() > end or machine.process.poll() is not None:
                logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                raise RuntimeError(f"Ray did not start at {address}:\n{logs}")
            time.sleep(0.5)

    def _alive(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the addresses of the machines that Ray takes for alive, by their ids."""
        token = env.get("RAY_AUTH_TOKEN", "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{self.url}/api/v0/nodes", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                nodes = json.load(answer)["data"]["result"]["result"]
        except (OSError, ValueError):
            return {}
        return {node["node_id"]: node["node_ip"] for node in nodes if node["state"] == "ALIVE"}


@contextlib.contextmanager
def real_ray(
    folder: Path, python: Path, machines: list[Machine], *, port: int = 8265, **env: str
) -> Iterator[Cluster]:
    """Start Ray of the interpreter ``python``, with ``machines``; end it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as short:
        sockets = Path(short)  # whose paths have 107 bytes at most
        cluster = Cluster(url=url, folder=folder, sockets=sockets, python=python, machines=machines)
        try:
            for machine in machines:
                cluster.start(machine, env=env)
            yield cluster
        finally:
            for machine in reversed(machines):
                machine.kill()


def _below(pid: int) -> list[int]:
    """Return the process ``pid`` and all that it started, and what those did."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found
