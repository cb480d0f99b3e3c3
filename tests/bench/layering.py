"""From wheels to an image, against merely checking the wheels: ratios of this one run.

    python tests/bench/layering.py NAME

The yardstick is ``sha256sum`` of every wheel, then ``unzip -tq`` of every wheel, spread over the
same cores: what it costs to read the wheels once and see that they are sound. "Cold" is layering
them all in an empty store. Then NAME, which is built and fetched, is built again from the default
store: by the whole command with nothing changed, and with one small wheel changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from envbuilder.layers.install import Target
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.image import Layer
from envbuilder.model.lock import Lock, Wheel
from envbuilder.model.plan import WheelLayer, plan
from envbuilder.model.pylock import read_lock
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from envbuilder.workflow.make import make_image
from tests.contexts import context

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Wall seconds, and processor seconds, which what else runs here disturbs less."""

    seconds: float
    processor: float


CORES = len(os.sched_getaffinity(0))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name", help="an environment that was built and fetched")
    name = arguments.parse_args().name
    lock = read_lock(Path("lockfiles") / f"pylock.{name}.toml")
    wheels = [Path("lockfiles/wheels") / wheel.filename for wheel in largest_first(lock)]
    total = sum(map(size, wheels))
    print(f"{len(wheels)} wheels, {total / 1e9:.2f} GB, {CORES} cores")
    spread(sha256_of, wheels)  # warms the page cache
    with tempfile.TemporaryDirectory(prefix="layering-") as folder:
        store = Store(Path(folder))
        costs = measure_layering(store, lock)
        disk = sum(blob.size for blob in store.ls()) / total
    costs |= measure_rebuilds(Store.default(), lock)
    report(costs, disk)


def measure_layering(store: Store, lock: Lock) -> dict[str, Cost]:
    paths = [Path("lockfiles/wheels") / wheel.filename for wheel in largest_first(lock)]
    planned = plan(lock)
    target = Target(python=planned.python)

    def layer(group: WheelLayer) -> Layer:
        inputs = [
            WheelInput(
                filename=wheel.filename,
                sha256=wheel.sha256,
                path=Path("lockfiles/wheels") / wheel.filename,
            )
            for wheel in group.wheels
        ]
        return wheel_layer(store, inputs, target=target, title=group.title)

    costs = {
        "check": timed(lambda: (run("sha256sum", paths), run("unzip", paths, "-tq"))),
        "layer": timed(lambda: spread(layer, planned.layers)),
    }
    for wheel in lock.wheels[:3]:
        with wheel_file(store, wheel.sha256) as path:
            if sha256_of(path) != wheel.sha256:
                sys.exit(f"{wheel.filename} did not come back as it was")
    return costs


def measure_rebuilds(store: Store, lock: Lock) -> dict[str, Cost]:
    """Time the whole command on a warm store, and lock to image with another leaf in the lock."""
    name = lock.spec.name
    command = [sys.executable, "-m", "envbuilder", "build", name, "--no-smoke", "--locked"]
    changed = with_changed_wheel(lock, store)
    before = make_image(context(store, offline=True), lock)
    images = []

    def bump() -> None:
        images.append(make_image(context(store, offline=True), changed))

    # As installed, with bytecode beside the source: the first run writes it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def again() -> None:
        subprocess.run([*command, "--offline"], check=True, capture_output=True, env=env)

    again()
    costs = {"nothing": timed(again), "leaf": timed(bump)}
    new = [layer for layer in images[0].layers if layer not in before.layers]
    written = sum(layer.size for layer in new) / 1e6
    print(
        f"a changed leaf: {len(new)} new layers, {written:.2f} MB: {[layer.title for layer in new]}"
    )
    return costs


def with_changed_wheel(lock: Lock, store: Store) -> Lock:
    """Add a comment to the smallest wheel's archive: another file with the same content."""
    small = min(lock.wheels, key=lambda wheel: wheel.size)
    with wheel_file(store, small.sha256) as path, tempfile.TemporaryDirectory() as folder:
        comment = f"bench {time.time_ns()}".encode()
        data = path.read_bytes()[:-2] + len(comment).to_bytes(2, "little") + comment
        copy = Path(folder) / small.filename
        copy.write_bytes(data)
        digest = Digest.of(data)
        store.adopt(copy, digest)
    other = replace(small, sha256=digest, size=len(data))
    return replace(lock, wheels=tuple(other if w == small else w for w in lock.wheels))


def report(costs: dict[str, Cost], disk: float) -> None:
    check, layer, nothing, leaf = (costs[name] for name in ("check", "layer", "nothing", "leaf"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = {
        "sha256sum, then unzip -tq": f"{check.seconds:.1f} s",
        "layers of all wheels": f"{layer.seconds:.1f} s",
        "  as a share of the above": f"{layer.seconds / check.seconds:.2f}   (goal 0.45)",
        "  in processor time": f"{layer.processor / check.processor:.2f}",
        "nothing changed, command": f"1/{layer.seconds / nothing.seconds:.0f}   (goal 1/35)",
        "one leaf changed, to image": f"1/{layer.seconds / leaf.seconds:.0f}   (goal 1/60)",
        "peak memory": f"{memory:.0f} MB   (goal 400 MB)",
        "disk, wheels = 1": f"{disk:.2f}",
    }
    for name, value in lines.items():
        print(f"{name:27} {value}")


def largest_first(lock: Lock) -> list[Wheel]:
    return sorted(lock.wheels, key=lambda wheel: -wheel.size)


def spread(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(work, items))


def run(program: str, paths: list[Path], *options: str) -> None:
    def one(path: Path) -> None:
        subprocess.run([program, *options, path], check=True, stdout=subprocess.DEVNULL)

    spread(one, paths)


def timed(work: Callable[[], object]) -> Cost:
    start, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return Cost(seconds=time.perf_counter() - start, processor=sum(after[:4]) - sum(before[:4]))


def sha256_of(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def size(path: Path) -> int:
    return path.stat().st_size


if __name__ == "__main__":
    main()
