"""Time four ways to one image layout, from the same wheels: cold, nothing changed, one pin changed.

    eval "$(tests/engine.sh env)"; python tests/bench/docker.py [NAME [pip] [uv] [rendered]]

Embedded against ``docker build`` with pip, with uv, and with our rendered Dockerfile. All stand on
the same Debian layer, made beforehand; the wheels lie in the store, or on a server on loopback for
those that download. Every image ends as an OCI layout on this disk. Timestamps are not rewritten:
for that BuildKit compresses the Debian layer once more, which nobody else's Dockerfile asks for.

One way after the other, and each gives its disk back: of omni-gpu, pip and uv take 30 GB, the
rendered Dockerfile 45 (uv's cache, its stages, their copies), of the engine's disk and the store's
together. The engine's build cache is emptied, so give it an engine of its own.
"""

from __future__ import annotations

import datetime as dt
import ensurepip
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from envbuilder.engines.docker import made_here
from envbuilder.engines.foundation import foundation_layers
from envbuilder.engines.render import render, write
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import read_lock
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from envbuilder.workflow.make import make_image
from tests.bench.layering import timed, with_changed_wheel
from tests.contexts import context

NAIVE = """\
FROM base
COPY requirements.txt /tmp/requirements.txt
RUN --mount=type=bind,from=tools,target=/tools {install} && rm /tmp/requirements.txt
"""
PIP = (
    "python3 -m venv --without-pip /opt/venv && "
    "/opt/venv/bin/python /tools/pip.whl/pip install --no-cache-dir --no-deps --no-index "
    "--find-links {url} --require-hashes -r /tmp/requirements.txt"
)
UV = (
    "/tools/opt/uv/bin/uv venv -q --python /usr/bin/python3 /opt/venv && "
    "/tools/opt/uv/bin/uv pip sync -q --python /opt/venv/bin/python --no-cache --no-index "
    "--find-links {url} --require-hashes /tmp/requirements.txt"
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the wheels are served, what stands for stages, and where images are made."""

    store: Store
    work: Path
    url: str
    contexts: dict[str, str]

    def embedded(self, lock: Lock, _: str, flags: list[str]) -> None:  # noqa: ARG002
        """Layer, assemble, export; at first the store holds wheels and the Debian layer only."""
        image = make_image(context(self.store, offline=True), lock)
        export(image, self.store, f"oci:{self.layout}", name="x", progress=Silent())

    @property
    def layout(self) -> Path:
        return self.work / "layout"

    def naive(self, install: str, lock: Lock, wheels: str, flags: list[str]) -> None:
        """Build the Dockerfile that everybody writes first."""
        folder = self.work / "naive"
        folder.mkdir(exist_ok=True)
        pins = (f"{w.name}=={w.version} --hash={w.sha256}\n" for w in lock.wheels)
        (folder / "requirements.txt").write_text("".join(pins))
        text = NAIVE.format(install=install.format(url=f"{self.url}/{wheels}/"))
        (folder / "Dockerfile").write_text(text)
        self._docker(folder, flags)

    def rendered(self, lock: Lock, wheels: str, flags: list[str]) -> None:
        """Build what ``envbuilder render`` writes."""
        folder = self.work / "rendered"
        write(render(lock), folder)
        settings = self.work / "uv.toml"
        settings.write_text(f'no-index = true\nfind-links = ["{self.url}/{wheels}/"]\n')
        self._docker(folder, [f"--secret=id=uv,src={settings}", *flags])

    def _docker(self, folder: Path, flags: list[str]) -> None:
        contexts = [f"--build-context={name}={place}" for name, place in self.contexts.items()]
        command = ["docker", "buildx", "build", "--network=host", "--provenance=false", *contexts]
        output = f"--output=type=oci,dest={self.layout},tar=false"
        done = subprocess.run(
            [*command, *flags, output, str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr[-20000:])


def main() -> None:
    name, *asked = sys.argv[1:] or ["omni-gpu"]
    lock = read_lock(Path("lockfiles") / f"pylock.{name}.toml")
    default = Store.default()
    changed = with_changed_wheel(lock, default)
    with tempfile.TemporaryDirectory(dir=default.root, prefix="bench-") as folder:
        work = Path(folder)
        store = _fresh_store(lock, default, work)
        for title, each in (("now", lock), ("changed", changed)):
            _lay_out(default, each, work / "wheels" / title, store)
        contexts = made_here(context(store, offline=True), lock, work)
        (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
        shutil.copy(pip, work / "tools" / "pip.whl")
        with _serving(work / "wheels") as url:
            bench = Bench(store=store, work=work, url=url, contexts=contexts)
            _compare(bench, lock, changed, asked)


def _compare(bench: Bench, lock: Lock, changed: Lock, asked: Sequence[str]) -> None:
    """Print the table: the embedded engine, which all ratios are to, and what was asked for."""
    ways: dict[str, Callable[[Lock, str, list[str]], None]] = {
        "embedded": bench.embedded,
        "docker, pip": functools.partial(bench.naive, PIP),
        "docker, uv": functools.partial(bench.naive, UV),
        "docker, rendered": bench.rendered,
    }
    runs = [(lock, "now", ["--no-cache"]), (lock, "now", []), (changed, "changed", [])]
    print(_conditions(lock))
    print(f"{'':18}{'cold':>19}{'nothing changed':>19}{'one pin changed':>19}{'load':>8}")
    first: dict[int, float] = {}
    for title, way in ways.items():
        if asked and title.removeprefix("docker, ") not in {"embedded", *asked}:
            continue
        _forget()
        print(f"{title:18}", end="", flush=True)
        for number, run in enumerate(runs):
            seconds = _one(bench, functools.partial(way, *run))
            ratio = seconds / first.setdefault(number, seconds)
            cell = f"{seconds:.2f} s {ratio:6.1f}x"
            print(f"{cell:>19}", end="", flush=True)
            if number == 1 and title in {"docker, pip", "docker, uv"}:
                _forget("RUN")  # which a changed requirements file has no use for
        print(f"{os.getloadavg()[1]:8.1f}", flush=True)
    _forget()


def _one(bench: Bench, work: Callable[[], None]) -> float:
    """Time one way to the layout, whose place is empty and whose disk is at rest."""
    shutil.rmtree(bench.layout, ignore_errors=True)
    os.sync()
    return timed(work).seconds


def _forget(instruction: str = "") -> None:
    """Remove all that the builder keeps, or what one kind of instruction made."""
    prune = ["docker", "buildx", "prune", "--all", "--force"]
    if not instruction:
        subprocess.run(prune, capture_output=True, check=True)
        return
    listing = subprocess.run(
        ["docker", "buildx", "du", "--verbose"], capture_output=True, text=True, check=True
    ).stdout
    for record in listing.split("\n\n"):
        fields = dict(re.findall(r"^(\w+):\s+(.*)$", record, re.MULTILINE))
        if f"] {instruction} " in fields.get("Description", ""):
            subprocess.run([*prune, f"--filter=id={fields['ID']}"], capture_output=True, check=True)


def _conditions(lock: Lock) -> str:
    size = sum(wheel.size for wheel in lock.wheels) / 1e9
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    now = dt.datetime.now(dt.UTC)
    return (
        f"{lock.spec.name}: {len(lock.wheels)} wheels, {size:.1f} GB; "
        f"{now:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {load}"
    )


def _lay_out(default: Store, lock: Lock, folder: Path, store: Store) -> None:
    """Put the wheels into ``store``, as if just downloaded, and into ``folder``, to be served."""
    folder.mkdir(parents=True)
    for wheel in lock.wheels:
        if not store.has(wheel.sha256):
            with wheel_file(default, wheel.sha256) as path:
                store.adopt(path, wheel.sha256)
        (folder / wheel.filename).hardlink_to(store.path(wheel.sha256))  # one copy on disk


def _fresh_store(lock: Lock, default: Store, work: Path) -> Store:
    """Make a store that holds the .deb files and the system layer."""
    assert isinstance(lock.base, DebianBase)
    store = Store(work / "store")
    for deb in lock.base.packages:
        store.adopt(default.path(deb.sha256), deb.sha256)
    foundation_layers(context(store, offline=True), lock)
    return store


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    main()
