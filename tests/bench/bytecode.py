"""Import modules in fresh containers of one lock, with the packages' bytecode and without.

    python tests/bench/bytecode.py NAME MODULE...

NAME is a locked environment in lockfiles/. Both images are made here, of the same layers but for
bytecode. Figures are processor seconds of this one run: the median of five starts each, in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from envbuilder.cli.context import open_context
from envbuilder.engines.bytecode_layers import bytecode_key
from envbuilder.model.image import Image
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import read_lock
from envbuilder.resolve.context import Context
from envbuilder.runtime import Command, Prepared, choose
from envbuilder.workflow.make import fetch, make_image

TURNS = 5
CODE = "import os, {}; t = os.times(); print(t.user + t.system)"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name")
    arguments.add_argument("modules", nargs="+")
    given = arguments.parse_args()
    lock = read_lock(Path("lockfiles") / f"pylock.{given.name}.toml")
    with open_context("quiet") as context:
        fetch(context, lock)
        made = [_made(context, lock, bytecode=bytecode) for bytecode in (False, True)]
        seconds = _starts(context, [image for image, _ in made], ", ".join(given.modules))
    before, after = (statistics.median(each) for each in seconds)
    own = sum(one.size for one in made[1][0].layers if one.kind is LayerKind.BYTECODE)
    whole = sum(one.size for one in made[0][0].layers)
    print(f"import {', '.join(given.modules)}: {before:.2f} s, with bytecode {after:.2f} s: "
          f"{after / before:.2f}")  # fmt: skip
    print(f"bytecode: {own / 1e6:.1f} MB of layers, {own / whole:.1%} of the rest; "
          f"made in {made[1][1]:.1f} s once all else was there")  # fmt: skip


def _made(context: Context, lock: Lock, *, bytecode: bool) -> tuple[Image, float]:
    """Make the image of ``lock``, compiling all; return it, and the processor seconds it took."""
    spec = structs.replace(lock.spec, bytecode=bytecode)
    for wheel in lock.wheels:
        context.store.drop_record("bytecode", bytecode_key(lock, [wheel]))
    start = sum(os.times()[:4])
    image = make_image(context, replace(lock, spec=spec, seal=None))
    return image, sum(os.times()[:4]) - start  # children's are the container's


def _starts(context: Context, images: list[Image], modules: str) -> list[list[float]]:
    runtime = choose("oci", context.store)
    with ExitStack() as stack:
        ready = [stack.enter_context(runtime.prepared(one, progress=Silent())) for one in images]
        for each in ready:
            _seconds(each, modules)  # files come from the disk
        turns = [[_seconds(each, modules) for each in ready] for _ in range(TURNS)]
    return [list(each) for each in zip(*turns, strict=True)]


def _seconds(image: Prepared, modules: str) -> float:
    done = image.run(Command(args=("/opt/venv/bin/python", "-c", CODE.format(modules))))
    assert not done.exit_code, done.stderr.decode()
    return float(done.stdout.splitlines()[-1])  # vLLM logs as it starts


if __name__ == "__main__":
    main()
