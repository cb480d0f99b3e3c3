"""Time the whole command on a warm store: nothing changed, and one small pin changed.

    python tests/bench/rebuild.py NAME

"Cold" is layering alone, measured by ``layering.py``; here are the wall times of the command, from
locked to image, and what a change of one small pin rewrites.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from envbuilder.layers.complement import wheel_file
from envbuilder.layers.store import Store
from envbuilder.lock import Lock
from envbuilder.lock_file import read_lock
from envbuilder.pipeline import Options, make_image
from envbuilder.progress import Silent
from envbuilder.reference import Digest


def main() -> None:
    name = sys.argv[1]
    lock = read_lock(Path("lockfiles") / f"pylock.{name}.toml")
    store = Store.default()
    command = [sys.executable, "-m", "envbuilder", "build", name, "--no-smoke", "--locked"]
    warm = timed(lambda: subprocess.run([*command, "--offline"], check=True, capture_output=True))
    print(f"{'nothing changed':24} {warm:.2f} s, the whole command")
    before = make_image(lock, store=store, progress=Silent(), options=Options(offline=True))
    changed = with_changed_wheel(lock, store)
    images = []
    seconds = timed(
        lambda: images.append(
            make_image(changed, store=store, progress=Silent(), options=Options(offline=True))
        )
    )
    known = {layer.digest for layer in before.layers}
    new = [layer for layer in images[0].layers if layer.digest not in known]
    written = sum(layer.size for layer in new) / 1e6
    print(
        f"{'one small pin changed':24} {seconds:.2f} s, {len(new)} layers, {written:.1f} MB written"
    )


def with_changed_wheel(lock: Lock, store: Store) -> Lock:
    """Change one byte of the smallest wheel's comment: another file with the same content."""
    small = min(lock.wheels, key=lambda wheel: wheel.size)
    with wheel_file(store, small.sha256) as path, tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / small.filename
        data = bytearray(path.read_bytes())
        data[-2:] = len(b"bump").to_bytes(2, "little")
        copy.write_bytes(bytes(data) + b"bump")
        digest = Digest.of(copy.read_bytes())
        store.adopt(copy, digest)
    other = replace(small, sha256=digest, size=small.size + 4)
    return replace(lock, wheels=tuple(other if w == small else w for w in lock.wheels))


def timed(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
