"""Pull a built image with real pullers and start it: seconds and bytes, in one table.

    python -m tests.lazy NAME [--code CODE] [--leaf PACKAGE==VERSION] [--toolbox DIR] [PULLER...]

NAME is an environment in lockfiles/ whose image is in the store. It is pushed as gzip and as
zstd:chunked to a registry on loopback; each puller starts from nothing. Bytes are counted at the
registry's socket. With --leaf the same environment is locked with that version, and what podman
fetches of it beside what it has is compared with the new layers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.pylock import read_lock
from envbuilder.model.seal import Form
from envbuilder.storage.store import Store
from tests.servers.counting import Counter, counted
from tests.servers.distribution import registry

from .toolbox import HERE, inside, toolbox

CHUNKED = "zstd:chunked"
PULLERS = {
    "docker": "gzip",
    "containerd": "gzip",
    "podman": "gzip",
    "podman-partial": CHUNKED,
    "stargz": CHUNKED,
}
"""Who pulls, and the form that it is given."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What was done, ``seconds`` after the puller was ready, with so many bytes fetched."""

    name: str
    seconds: float
    fetched: int


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name")
    arguments.add_argument("pullers", nargs="*", metavar="PULLER", default=list(PULLERS))
    arguments.add_argument("--code", default="import PIL, torch, transformers")
    arguments.add_argument("--leaf", metavar="PACKAGE==VERSION")
    arguments.add_argument("--toolbox", type=Path, default=Path(".lazy"))
    given = arguments.parse_args()
    root = toolbox(given.toolbox)
    beside = Store.default().root.parent
    with (
        tempfile.TemporaryDirectory(prefix="lazy-", dir=beside) as folder,
        registry(Path(folder, "registry")) as server,
        counted(server.host) as counter,
    ):
        work = Path(folder)
        shutil.copytree("lockfiles", work / "lockfiles")
        for form in sorted({PULLERS[each] for each in given.pullers}):
            _envbuilder(work, "push", given.name, _ref(server.host, form), "--compression", form)
        next_one = _next(work, given.name, given.leaf, server.host) if given.leaf else ""
        print(
            f"{given.name}, `{given.code}`, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}"
        )
        print("\n| puller | form | pulled (s) | started (s) | fetched when pulled (MB) "
              "| when started (MB) |\n|---|---|---|---|---|---|")  # fmt: skip
        for puller in given.pullers:
            form = PULLERS[puller]
            asked = [puller, _ref(counter.host, form), given.code]
            if puller == "podman-partial" and next_one:
                asked.append(next_one.replace(server.host, counter.host))
            moments = measure(root, work, asked, counter)
            print(_row(puller, form, moments), flush=True)
            if len(moments) > 3:
                print(_bumped(work, given.name, moments), file=sys.stderr)


def measure(root: Path, work: Path, asked: Sequence[str], counter: Counter) -> list[Moment]:
    """Run one puller from nothing, and note the time and the bytes at each line that it says."""
    with tempfile.TemporaryDirectory(dir=work) as own:
        shutil.copy(HERE / "puller.sh", own)
        command = [*inside(root, Path(own)), "sh", "/scratch/puller.sh", *asked]
        moments: list[Moment] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            begun, before = time.perf_counter(), counter.received
            for line in process.stdout:
                if line == "ready\n":
                    begun = time.perf_counter()
                since = time.perf_counter() - begun
                moments.append(
                    Moment(name=line.strip(), seconds=since, fetched=counter.received - before)
                )
        assert process.returncode == 0, f"{asked[0]} ended with {process.returncode}"
    return moments


def _row(puller: str, form: str, moments: Sequence[Moment]) -> str:
    told = {each.name: each for each in moments}
    pulled, started = told["pulled"], told["started"]
    fetched = f"{pulled.fetched / 1e6:.1f} | {started.fetched / 1e6:.1f}"
    return f"| {puller} | {form} | {pulled.seconds:.0f} | {started.seconds:.0f} | {fetched} |"


def _bumped(work: Path, name: str, moments: Sequence[Moment]) -> str:
    """Compare what came with the next image with the layers that are new in it."""
    told = {each.name: each for each in moments}
    fetched = told["next"].fetched - told["started"].fetched
    old, new = (
        _form(work / each / f"pylock.{name}.toml") for each in ("lockfiles", "next/lockfiles")
    )
    known = {layer.digest for layer in old.layers}
    leaf = sum(layer.size for layer in new.layers if layer.digest not in known)
    return f"one leaf: {fetched} bytes fetched for {leaf} of new layers, {fetched / leaf:.2f} of it"


def _form(path: Path) -> Form:
    seal = read_lock(path).seal
    form = seal.form(CHUNKED) if seal is not None else None
    assert form is not None, f"{path} was not pushed as {CHUNKED}"
    return form


def _next(work: Path, name: str, leaf: str, host: str) -> str:
    """Lock the environment with another version of one package, build and push it."""
    package, _, version = leaf.partition("==")
    folder = work / "next"
    (folder / "lockfiles").mkdir(parents=True)
    shutil.copy(work / "lockfiles" / f"pylock.{name}.toml", folder / "lockfiles")
    lines = (work / "lockfiles" / f"{name}.yaml").read_text().splitlines(keepends=True)
    pinned = [
        f'  {package}: "=={version}"\n' if line.startswith(f"  {package}:") else line
        for line in lines
    ]
    assert pinned != lines, f"{name}.yaml does not name {package}"
    (folder / "lockfiles" / f"{name}.yaml").write_text("".join(pinned))
    _envbuilder(folder, "lock", name)
    ref = _ref(host, "next")
    _envbuilder(folder, "build", name, "--no-smoke", "--push", ref, "--compression", CHUNKED)
    return ref


def _ref(host: str, form: str) -> str:
    return f"{host}/lazy:{form.replace(':', '-')}"


def _envbuilder(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, "-m", "envbuilder", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
