"""Push and pull a built image beside ``skopeo copy``, start-up included; count what verify costs.

    python -m tests.bench.registry NAME [--rounds N]

NAME is a sealed environment in lockfiles/ whose image is in the store. In each round skopeo and
envbuilder do the same, as processes, with an empty docker-registry each. All figures are ratios of
one run: the median of the pairs, of wall time and of processor seconds (a busy machine shows in the
first only). Our modules are compiled first, as those of an installed package are.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

import envbuilder
from envbuilder.evidence.attach import attach
from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.statements import provenance
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.policy import Policy
from envbuilder.evidence.verify.remote import verify
from envbuilder.model.image import Image, parse_image
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import read_lock
from envbuilder.model.reference import ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from tests.servers.counting import counted
from tests.servers.distribution import Server, registry

_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
_PULL = """
import sys
from pathlib import Path
from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Platform
from envbuilder.registry.transfer import pull
from envbuilder.storage.store import Store
with Client.from_environment() as client:
    ref, store = ImageRef.parse(sys.argv[1]), Store(Path(sys.argv[2]))
    pull(client, ref, Platform.parse("linux/amd64"), store, Silent())
"""


def main() -> None:
    compileall.compile_dir(Path(envbuilder.__file__).parent, quiet=1)
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name")
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    lock = read_lock(Path("lockfiles") / f"pylock.{given.name}.toml")
    store = Store.default()
    assert lock.seal is not None, f"build {given.name} first"
    image = parse_image(store.read(lock.seal.manifest), store.read(lock.seal.config))
    total = sum(layer.size for layer in image.layers)
    print(f"{given.name}: {len(image.layers)} layers, {total / 1e9:.2f} GB")
    with tempfile.TemporaryDirectory(prefix="envbuilder-bench-", dir=store.root.parent) as work:
        bench(Path(work), lock, image, store, given.rounds)


def bench(work: Path, lock: Lock, image: Image, store: Store, rounds: int) -> None:
    folder = export(image, store, f"oci:{work / 'layout'}", name="x", progress=Silent())
    layout = f"oci:{folder}:x"
    name = lock.spec.name
    known = ("push", "push to another repository", "pull")
    pairs: dict[str, list[tuple[Cost, Cost]]] = {what: [] for what in known}
    again: list[Cost] = []
    for number in range(rounds):
        with emptied(work / f"skopeo-{number}") as server:
            there = f"docker://{server.host}/one:v1"
            pushed = skopeo(layout, there)
            mounted = skopeo(layout, f"docker://{server.host}/two:v1")
            pulled = skopeo(there, f"oci:{work / 'pulled'}:x")
            shutil.rmtree(work / "pulled")
        with emptied(work / f"ours-{number}") as server:
            first = f"{server.host}/one:v1"
            pairs["push"].append((push(name, first), pushed))
            again.append(push(name, first))
            other = push(name, f"{server.host}/two:v1")
            pairs["push to another repository"].append((other, mounted))
            pairs["pull"].append((pull(first, work / "store"), pulled))
            shutil.rmtree(work / "store")
            if number == rounds - 1:
                count(server, lock, image)
    for what, costs in pairs.items():
        wall = median(ours.wall / theirs.wall for ours, theirs in costs)
        used = median(ours.processor / theirs.processor for ours, theirs in costs)
        seconds = median(ours.wall for ours, _ in costs)
        print(f"{what}: {wall:.2f} of skopeo's time ({seconds:.1f} s), {used:.2f} of its CPU's")
    second = median(each.wall for each in again)
    whole = median(each.wall for each, _ in pairs["push"])
    print(f"second push: {second / whole:.2f} of the first ({second:.2f} s)")


class Cost(NamedTuple):
    """What a process took, in seconds."""

    wall: float
    processor: float


def run(*command: str | Path) -> Cost:
    """Run a command to its end."""
    environ = {key: value for key, value in os.environ.items() if key != _NO_BYTECODE}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, env=environ, **silent)
    wall, after = time.perf_counter() - start, os.times()
    user = after.children_user - before.children_user
    return Cost(wall, user + after.children_system - before.children_system)


def skopeo(source: str, target: str) -> Cost:
    flags = ["--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
    return run("skopeo", "copy", *flags, source, target)


def push(name: str, ref: str) -> Cost:
    return run(sys.executable, "-m", "envbuilder", "push", name, ref)


def pull(ref: str, store: Path) -> Cost:
    """Pull into an empty store, as ``verify --smoke`` does."""
    return run(sys.executable, "-c", _PULL, ref, store)


def count(server: Server, lock: Lock, image: Image) -> None:
    """Verify through a relay, level by level, and print what passed."""
    key = ec.generate_private_key(ec.SECP256R1())
    with quiet_client() as client:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        report = {"version": 1, "verdict": "pass", "checks": []}
        stated = [
            provenance(lock, image.digest, engine="embedded", finished=moment),
            smoke_result(lock, image.digest, report, finished=moment),
        ]
        ref = ImageRef.parse(f"{server.host}/one:v1")
        attach(client.repository(ref), image.digest, stated, key)
    for level in (Level.DIGEST, Level.CONTENT, Level.EVIDENCE):
        with counted(server.host) as counter, quiet_client() as client:
            ref = ImageRef.parse(f"{counter.host}/one:v1")
            verdict = verify(
                client, ref, lock, level=level, progress=Silent(), policy=Policy(),
                keyring=Keyring.of(key.public_key()),
            )  # fmt: skip
        assert verdict.ok, verdict
        passed = counter.sent + counter.received
        print(f"verify L{int(level)}: {len(counter.requests)} requests, {passed / 1000:.1f} KB")


def quiet_client() -> Client:
    return Client(Settings(), docker_config=Path("/nonexistent/config.json"))


@contextlib.contextmanager
def emptied(folder: Path) -> Iterator[Server]:
    """Start a registry on an empty folder; remove the folder afterwards."""
    with registry(folder) as server:
        yield server
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
