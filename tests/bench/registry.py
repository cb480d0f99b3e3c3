"""Push a built image to a loopback registry beside ``skopeo copy``, and count what verify costs.

    python tests/bench/registry.py NAME [--rounds N]

NAME is a sealed environment in lockfiles/ whose image is in the store. Each round copies the same
layout with skopeo and pushes it with envbuilder, into an empty docker-registry each; all figures
are ratios of this one run, and of its best rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

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
from envbuilder.registry.transfer import push
from envbuilder.storage.store import Store
from tests.servers.counting import counted
from tests.servers.distribution import Server, registry


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name")
    arguments.add_argument("--rounds", type=int, default=2)
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
    layout = export(image, store, f"oci:{work / 'layout'}", name="x", progress=Silent())
    skopeo: list[float] = []
    ours: list[float] = []
    again: list[float] = []
    for number in range(rounds):
        with emptied(work / f"skopeo-{number}") as server:
            start = time.perf_counter()
            copy(layout, server)
            skopeo.append(time.perf_counter() - start)
        with emptied(work / f"ours-{number}") as server, quiet_client() as client:
            ref = ImageRef.parse(f"{server.host}/bench:v1")
            for times in (ours, again):
                start = time.perf_counter()
                push(client, image, store, ref, Silent())
                times.append(time.perf_counter() - start)
            if number == rounds - 1:
                count(server, lock, image)
    print(f"push: {min(skopeo) / min(ours):.2f} times the speed of skopeo copy "
          f"({min(ours):.1f} s, {min(skopeo):.1f} s)")  # fmt: skip
    print(f"second push: 1/{min(ours) / min(again):.0f} of the first ({min(again):.3f} s)")


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
        ref = ImageRef.parse(f"{server.host}/bench:v1")
        attach(client.repository(ref), image.digest, stated, key)
    for level in (Level.DIGEST, Level.CONTENT, Level.EVIDENCE):
        with counted(server.host) as counter, quiet_client() as client:
            ref = ImageRef.parse(f"{counter.host}/bench:v1")
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


def copy(layout: Path, server: Server) -> None:
    command = ["skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]
    target = f"docker://{server.host}/bench:v1"
    subprocess.run([*command, f"oci:{layout}:x", target], check=True)


if __name__ == "__main__":
    main()
