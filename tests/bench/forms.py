"""Recompress a built image, beside merely reading and hashing its tars.

    python tests/bench/forms.py NAME

NAME is a sealed environment in lockfiles/ whose image is in the store. Each form is made anew, in a
store of its own on the same disk; figures are processor seconds of this one run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from envbuilder.layers.forms import recompress
from envbuilder.layers.untar import untar
from envbuilder.model.image import Image, parse_image
from envbuilder.model.pylock import read_lock
from envbuilder.model.spec_words import COMPRESSIONS, Compression
from envbuilder.storage.store import Store


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name")
    given = arguments.parse_args()
    lock = read_lock(Path("lockfiles") / f"pylock.{given.name}.toml")
    store = Store.default()
    assert lock.seal is not None, f"build {given.name} first"
    image = parse_image(store.read(lock.seal.manifest), store.read(lock.seal.config))
    start = time.process_time()
    plain = sum(_plain_size(store, image))
    reading = time.process_time() - start
    packed = sum(layer.size for layer in image.layers)
    print(f"{given.name}: {plain / 1e9:.2f} GB plain, {packed / 1e9:.2f} GB as gzip; "
          f"reading: {plain / 1e6 / reading:.0f} MB/s a core")  # fmt: skip
    for form in COMPRESSIONS[1:]:
        with tempfile.TemporaryDirectory(dir=store.root.parent, prefix="forms-") as folder:
            _measure(_beside(store, image, Path(folder)), image, form, plain, reading)


def _plain_size(store: Store, image: Image) -> list[int]:
    sizes = []
    for layer in image.layers:
        with untar(store.checked(layer.digest), layer.media_type, layer.diff_id) as tar:
            sizes.append(sum(map(len, tar.rest())))
    return sizes


def _beside(store: Store, image: Image, folder: Path) -> Store:
    """Make a store that has the image's layers, by links, and no form of them."""
    other = Store(folder)
    for layer in image.layers:
        path = other.path(layer.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.link(store.path(layer.digest), path)
    return other


def _measure(store: Store, image: Image, form: Compression, plain: int, reading: float) -> None:
    start, begun = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        made = [
            recompress(store, layer, form, pool=pool, advance=lambda _: None)
            for layer in image.layers
        ]
    spent, wall = time.process_time() - start, time.perf_counter() - begun
    size = sum(each.layer.size for each in made)
    print(f"{form}: {size / 1e9:.2f} GB, {plain / 1e6 / spent:.0f} MB/s a core, "
          f"{spent / reading:.1f} times reading, {wall:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
