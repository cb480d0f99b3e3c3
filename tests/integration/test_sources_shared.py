"""A wheel that both builds and is shipped: stored once, unpacked once, out of a build's reach."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from envbuilder.engines.embedded import assemble
from envbuilder.engines.foundation import Foundation
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.resolve.git.wheel_build import build_sources
from envbuilder.resolve.python.wheels import supply
from envbuilder.runtime import Completed, Runtime, choose
from envbuilder.runtime.oci import OciRuntime, find_program
from envbuilder.runtime.tree_check import is_damaged
from envbuilder.runtime.trees import is_sound, unpacked
from envbuilder.storage.store import Store
from tests.contexts import context, git_context
from tests.integration.test_archives import World
from tests.integration.tiny_image import tiny_image
from tests.servers.packages import Packages
from tests.servers.scripted import scripted

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

SIZE = 12 << 20
HEAVY = random.Random(1).randbytes(SIZE)
ENTRY = "[console_scripts]\nbulky = bulky:main\n"
SITE = "/opt/build/lib/python3.11/site-packages"
NEEDY = 'needy: {version: "==1.0", build: {requires: [bulky]}}'
SEEN = """
import bulky, hashlib, os, subprocess, sys
print("FILES", *sorted(
    f"{os.path.join(place, name)}|{os.lstat(os.path.join(place, name)).st_mode:o}|" + (
        os.readlink(os.path.join(place, name)) if os.path.islink(os.path.join(place, name))
        else hashlib.sha256(open(os.path.join(place, name), "rb").read()).hexdigest()
    )
    for place, _, names in os.walk("/opt/build") for name in names
), sep="\\n")
print("END")
assert subprocess.check_output(["bulky"], text=True).split() == ["/opt/build", bulky.__file__]
"""
VANDAL = """
import bulky, ctypes, os
from pathlib import Path
big = Path(bulky.__file__).with_name("big.bin")
for spoil in (
    lambda: big.write_bytes(b"spoilt"),
    lambda: big.open("r+b").write(b"x"),
    lambda: os.truncate(big, 0),
    lambda: big.unlink(),
    lambda: big.chmod(0o777),
    lambda: os.utime(big, (1, 1)),
    lambda: os.link(big, "/build/output/linked"),
    lambda: os.rename(big, "/build/output/moved"),
    lambda: Path("/opt/build/new").write_text("x"),
    lambda: Path(big).with_name("new.py").write_text("x"),
):
    try:
        spoil()
    except OSError as error:
        print("KEPT", error.errno)
    else:
        raise SystemExit("it could write")
libc = ctypes.CDLL(None, use_errno=True)
flags = 32 | 4096  # MS_REMOUNT | MS_BIND: writable again
assert libc.mount(None, b"/opt/build", None, ctypes.c_ulong(flags), None) == -1
"""


@pytest.fixture
def world(tmp_path):
    with scripted((packages := Packages(wheels={})).respond) as running:
        yield World(tmp_path, running.host, packages)


def locked(world: World, *, build: str = "import bulky", more: str = 'bulky: "==1.0"') -> Lock:
    code = b"import sys\ndef main(): print(sys.prefix, __file__)\n"
    world.wheel(
        "bulky", files={"bulky/__init__.py": code, "bulky/big.bin": HEAVY}, entry_points=ENTRY
    )
    world.sdist("needy", build=f"exec({build!r}, {{}})")
    return world.lock(f"{NEEDY}, {more}" if more else NEEDY, sdists="[needy]")


def built(world: World, lock: Lock, runtime: Runtime | None = None) -> Lock:
    work = git_context(world.store, runtime=None if runtime is None else lambda: runtime)
    sandbox = host_sandbox("3.11", store=world.store)
    return build_sources(lock, make=contained(lambda: sandbox, work), context=work)


def assembled(world: World, lock: Lock) -> Image:
    """Make the image of ``lock`` and unpack it, as its smoke would."""
    work = context(world.store)
    base = tiny_image(world.store).layers
    image = assemble(
        work,
        lock,
        foundation=lambda _: Foundation(layers=base),
        bring=supply(work, lock, lock.wheels).bring,
    )
    unpacked(image.layers, store=world.store, progress=Silent())
    return image


def on_disk(folder: Path) -> int:
    """Count the bytes that the files below ``folder`` take on the disk, each file once."""
    files = {(at := path.lstat()).st_ino: at.st_blocks * 512 for path in folder.rglob("*")}
    return sum(files.values())


@pytest.mark.parametrize("more", ['bulky: "==1.0"', 'app: "*"'])
def test_it_is_stored_and_unpacked_once(world, more):
    """Whether the spec names it or another package brings it along."""
    world.wheel("app", requires=("bulky",))
    lock = built(world, locked(world, more=more))
    image = assembled(world, lock)
    for folder in ("blobs", "trees"):
        assert SIZE < on_disk(world.store.root / folder) < 1.5 * SIZE, folder
    (bulky,) = [wheel for wheel in lock.wheels if wheel.name == "bulky"]
    with wheel_file(world.store, bulky.sha256) as path:
        assert path.stat().st_size == bulky.size
    assert sum(layer.title == "bulky 1.0" for layer in image.layers) == 1


def test_the_image_that_was_there_first_serves_the_build(world):
    lock = locked(world)
    assembled(world, replace(lock, archives=()))
    before = [*world.store.root.glob("trees/**/big.bin")]
    built(world, lock)
    assert [*world.store.root.glob("trees/**/big.bin")] == before
    assert len(before) == 1


@dataclass(frozen=True)
class Plain:
    """A runtime that shows layers where they are, and nowhere else, as a Docker Engine does."""

    inner: Runtime
    name: str = "plain"
    overlays: bool = False

    def run(self, *args: Any, **named: Any) -> Completed:
        return self.inner.run(*args, **named)

    def prepared(self, *args: Any, **named: Any) -> Any:
        return self.inner.prepared(*args, **named)


def said(world: World) -> str:
    """Return what the build of the wheel printed."""
    logs = (world.store.root / "logs").glob("*.log")
    (log,) = (path for path in logs if not path.name.endswith("-metadata.log"))
    return log.read_text()


def seen(world: World) -> list[str]:
    return said(world).partition("FILES\n")[2].partition("END")[0].splitlines()


def test_a_build_sees_the_same_files_whichever_way_they_come(world, tmp_path):
    lock = locked(world, build=SEEN)
    one = built(world, lock)
    shared = seen(world)
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", world.host, world.packages)
    two = built(other, lock, Plain(choose("oci", other.store)))
    assert shared == seen(other)
    assert one == two
    assert any(line.startswith(f"{SITE}/bulky/big.bin|100644|") for line in shared)
    assert any(line.startswith("/opt/build/bin/bulky|100755|") for line in shared)
    assert not any("REQUESTED" in line for line in shared)
    assert on_disk(other.store.root / "trees") > SIZE


@pytest.mark.parametrize("program", ["crun", "runc"])
def test_nothing_that_a_build_writes_reaches_what_is_shared(world, program):
    found = find_program(program)
    assert found, f"this test needs {program}: apt-get install {program}"
    lock = built(world, locked(world, build=VANDAL), OciRuntime(program=found, store=world.store))
    assert said(world).count("KEPT") == 10
    image = assembled(world, lock)
    again = Store(world.store.root)  # which has not looked at them yet
    layers = [layer for layer in image.layers if layer.title == "bulky 1.0"]
    assert [is_sound(again, layer.digest) for layer in layers] == [True]
    assert not is_damaged(again, layers[0].digest)
