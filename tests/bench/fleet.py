"""Push a built environment from a second machine that has nothing: what passes its network.

    python -m tests.bench.fleet NAME

NAME is a sealed environment in lockfiles/ whose layers are in the store. They are shared in a
registry on loopback; then a checkout without wheels, with an empty store and no index, builds NAME
and pushes it under a new tag. Bytes are counted at a relay before the registry.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from envbuilder.evidence.keys import new_key
from envbuilder.storage.store import Store
from tests.servers.counting import counted
from tests.servers.distribution import registry

NOWHERE = "http://127.0.0.1:9"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name")
    name = arguments.parse_args().name
    beside = Store.default().root.parent
    with tempfile.TemporaryDirectory(prefix="envbuilder-bench-", dir=beside) as work:
        folder = Path(work)
        new_key(folder / "team", "")
        copy_project(folder)
        with registry(folder / "registry") as server:
            key = {"ENVBUILDER_REMOTE_STORE_KEY": str(folder / "team.key")}
            shared = build(folder, name, f"{server.host}/layers", key)
            with counted(server.host) as relay:
                empty = {"ENVBUILDER_CACHE": str(folder / "store"), "UV_DEFAULT_INDEX": NOWHERE}
                target = ("--push", f"{relay.host}/{name}:second")
                pushed = build(folder, name, f"{relay.host}/layers", empty, *target)
        held = sum(blob.size for blob in Store(folder / "store").ls())
    print(f"the first machine shares its layers: {shared:.1f} s")
    print(f"the second, from an empty store to a pushed image: {pushed:.1f} s, "
          f"{len(relay.requests)} requests, {relay.received / 1e6:.2f} MB in, "
          f"{relay.sent / 1e6:.2f} MB out; its store then holds {held / 1e6:.2f} MB")  # fmt: skip


def copy_project(folder: Path) -> None:
    """Copy specs, locks and ledgers, but no wheels that may lie beside them."""
    ignored = shutil.ignore_patterns("wheels", ".*")
    shutil.copytree("lockfiles", folder / "lockfiles", ignore=ignored)


def build(folder: Path, name: str, remote: str, env: dict[str, str], *more: str) -> float:
    """Build NAME with layers of ``remote``; return the seconds."""
    own = {"ENVBUILDER_REMOTE_STORE": remote, "PYTHONPATH": str(Path.cwd())}
    trust = {"ENVBUILDER_REMOTE_STORE_TRUST": str(folder / "team.pub")}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "envbuilder", "build", name, "--no-smoke", "--locked", *more],
        check=True, cwd=folder, env={**os.environ, **own, **trust, **env},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
