"""Builds that are killed or starved of disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.package_spec import Package
from envbuilder.model.pylock import write_lock
from envbuilder.model.spec import Base, Spec
from envbuilder.resolve.sources import lock_sources, locking
from envbuilder.resolve.target import python_target
from envbuilder.storage.store import Store
from tests.contexts import git_context
from tests.servers.git_repositories import Origin

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BUILD = [sys.executable, "-m", "tests.integration.build_lock"]
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
# Its first build waits to be killed; the compilers' cache tells that there was one.
BACKEND = """\
import os, pathlib, time, zipfile

METADATA = "Name: big\\nVersion: 1\\n"

def prepare_metadata_for_build_wheel(output, *_):
    os.mkdir(output + "/big-1.dist-info")
    pathlib.Path(output, "big-1.dist-info/METADATA").write_text(METADATA)
    return "big-1.dist-info"

def build_wheel(output, *_):
    begun = pathlib.Path("/build/cache/begun")
    if pathlib.Path("wait").exists() and not begun.exists():
        begun.touch()
        print("compiling")
        time.sleep(3600)
    if pathlib.Path("fill").exists():
        with open(output + "/fill", "wb") as file:
            if pathlib.Path("fill").read_text() == "without a name":
                os.unlink(output + "/fill")
            while True:
                file.write(bytes(1 << 20))
                file.flush()
                time.sleep(0.02)
    with zipfile.ZipFile(output + "/big-1-py3-none-any.whl", "w") as wheel:
        wheel.write("big.bin")
        wheel.writestr("big-1.dist-info/METADATA", METADATA)
        wheel.writestr("big-1.dist-info/RECORD", "")
    return "big-1-py3-none-any.whl"
"""


def locked(tmp_path: Path, **files: str | bytes) -> Lock:
    """Lock a project that is one big file into the store, and write the lock beside it."""
    origin = Origin.create(tmp_path / "big")
    origin.commit({"b.py": BACKEND, "pyproject.toml": PYPROJECT, **files})
    pin = Package(git=str(origin.path), branch="main")
    base = DebianBase(suite="trixie", packages=())
    spec = Spec(
        version=1, name="x", python="3.11", base=Base(debian="trixie"), packages={"big": pin}
    )
    store = Store(tmp_path / "store")
    context = git_context(store)
    sources = lock_sources(locking(spec, target=python_target(spec, base), context=context))
    lock = Lock(spec=spec, base=base, wheels=(), sources=sources)
    write_lock(tmp_path / "pylock.x.toml", lock)
    return lock


def build(store: Path, *before: str) -> str:
    command = [*before, *BUILD, str(store.with_name("pylock.x.toml")), str(store)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_build_that_is_killed_leaves_its_log_and_the_next_run_does_it_again(tmp_path):
    lock = locked(tmp_path, **{"big.bin": b"x", "wait": ""})
    command = [*BUILD, str(tmp_path / "pylock.x.toml"), str(tmp_path / "store")]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    log = tmp_path / "store" / "logs" / f"big-{lock.sources[0].commit}.log"
    while not log.exists() or log.read_text() != "compiling\n":
        assert process.poll() is None, "it ended before it began to build"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert log.read_text() == "compiling\n"
    assert build(tmp_path / "store").startswith("sha256:")
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


@pytest.mark.parametrize("how", ["plainly", "without a name"])
def test_a_build_that_fills_the_disk_is_stopped_while_there_is_some_left(tmp_path, how):
    locked(tmp_path, **{"big.bin": b"x", "fill": how})
    said = on_small_disk(tmp_path, 100_000_000)
    assert said.startswith(f"DiskFullError big: the disk that holds {tmp_path / 'small'}")
    assert "more than seven eighths of what was free" in said
    assert "No space left" not in said


@pytest.mark.parametrize("room", [1_000_000, 5_000_000, 8_000_000])
def test_a_full_disk_is_said_in_words(tmp_path, room):
    """There is room for nothing, for the commit's 3 MB, or also for what is built of them."""
    locked(tmp_path, **{"big.bin": os.urandom(3_000_000)})
    said = on_small_disk(tmp_path, room)
    assert said.startswith(f"DiskFullError big: the disk that holds {tmp_path / 'small'}")
    assert "is full" in said
    assert "envbuilder cache prune" in said
    assert build(tmp_path / "store").startswith("sha256:")


def on_small_disk(folder: Path, room: int) -> str:
    """Build with a copy of the store on a disk that has ``room`` bytes left."""
    small, store = folder / "small", folder / "store"
    small.mkdir()
    used = sum(-(-path.lstat().st_size // 4096) * 4096 for path in store.rglob("*"))
    script = f"mount -t tmpfs -o size={used + room} none {small} && cp -a {store}/. {small}"
    private = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    return build(small, *private, "sh", "-c", f'{script} && exec "$@"', "sh")
