"""Compare layering a folder of wheels with merely checking them; print ratios of this one run.

    python tests/bench/layering.py FOLDER

The yardstick is ``sha256sum`` of every wheel, then ``unzip -tq`` of every wheel, spread over the
same cores: what it costs to read the wheels once and see that they are sound.
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

from envbuilder.image import Layer
from envbuilder.layers.complement import wheel_file
from envbuilder.layers.install import Target
from envbuilder.layers.store import Store
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.plan import BUCKETS, HEAVY
from envbuilder.reference import Digest

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Wall seconds, and processor seconds, which what else runs here disturbs less."""

    seconds: float
    processor: float


CORES = len(os.sched_getaffinity(0))
TARGET = Target(python="3.11")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="a folder of wheels")
    wheels = sorted(arguments.parse_args().folder.glob("*.whl"), key=lambda path: -size(path))
    if not wheels:
        sys.exit("there is no wheel in that folder")
    total = sum(map(size, wheels))
    print(f"{len(wheels)} wheels, {total / 1e9:.2f} GB, {CORES} cores")
    digests = dict(zip(wheels, spread(sha256_of, wheels), strict=True))  # warms the page cache
    with tempfile.TemporaryDirectory(prefix="layering-") as folder:
        store = Store(Path(folder))
        costs = measure(store, wheels, digests)
        report(costs, sum(blob.size for blob in store.ls()) / total)


def measure(store: Store, wheels: list[Path], digests: dict[Path, Digest]) -> dict[str, Cost]:
    groups = grouped(
        [WheelInput(filename=each.name, sha256=digests[each], path=each) for each in wheels]
    )

    def layer(group: list[WheelInput]) -> Layer:
        return wheel_layer(store, group, target=TARGET, title=group[0].filename)

    small = groups[-1][0]
    changed = [
        [replace(each, path=None, requested=each is small) for each in group] for group in groups
    ]
    costs = {
        "check": timed(lambda: (run("sha256sum", wheels), run("unzip", wheels, "-tq"))),
        "layer": timed(lambda: spread(layer, groups)),
        "again": timed(lambda: spread(layer, groups)),
        "bump": timed(lambda: spread(layer, changed)),
    }
    for wheel in wheels[:3]:
        with wheel_file(store, digests[wheel]) as path:
            if sha256_of(path) != digests[wheel]:
                sys.exit(f"{wheel.name} did not come back as it was")
    return costs


def report(costs: dict[str, Cost], disk: float) -> None:
    check, layer, again, bump = (costs[name] for name in ("check", "layer", "again", "bump"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = {
        "sha256sum, then unzip -tq": f"{check.seconds:.1f} s",
        "layers of all wheels": f"{layer.seconds:.1f} s",
        "  as a share of the above": f"{layer.seconds / check.seconds:.2f}   (at most 0.60)",
        "  in processor time": f"{layer.processor / check.processor:.2f}",
        "nothing changed": f"1/{layer.seconds / again.seconds:.0f} of it   (at most 1/30)",
        "one small wheel changed": f"1/{layer.seconds / bump.seconds:.0f} of it   (at most 1/10)",
        "peak memory": f"{memory:.0f} MB   (at most 400 MB)",
        "disk, wheels = 1": f"{disk:.2f}   (the changed bucket is there twice)",
    }
    for name, value in lines.items():
        print(f"{name:26} {value}")


def grouped(wheels: Iterable[WheelInput]) -> list[list[WheelInput]]:
    """Group as ``envbuilder.plan`` does: heavy wheels alone, the rest in buckets by name."""
    heavy, buckets = [], [[] for _ in range(BUCKETS)]
    for wheel in wheels:
        if wheel.path is not None and size(wheel.path) >= HEAVY:
            heavy.append([wheel])
        else:
            name = wheel.filename.partition("-")[0].encode()
            buckets[hashlib.sha256(name).digest()[0] % BUCKETS].append(wheel)
    return heavy + [sorted(bucket, key=lambda each: each.filename) for bucket in buckets if bucket]


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
