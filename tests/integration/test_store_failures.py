"""Layering when things go wrong: a full disk, kill -9 at any moment, two builds on one store."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envbuilder.layers.install import Target
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from envbuilder.workflow.store_health import examine
from tests.contexts import context
from tests.wheels import Recipe, write_wheel

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
TARGET = Target(python="3.11")
LAYERING = """
import json, sys
from pathlib import Path
from envbuilder.layers.install import Target
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
store, folder = Store(Path(sys.argv[1])), Path(sys.argv[2])
try:
    for path in sorted(folder.glob("*.whl")):
        digest = store.adopt(path, Digest.of(path.read_bytes()))
        wheel = WheelInput(filename=path.name, sha256=digest)
        made = wheel_layer(store, [wheel], target=Target(python="3.11"), title="")
        print(made.digest, flush=True)
except EnvbuilderError as error:
    print(json.dumps([error.exit_code, error.message, error.hint]))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three wheels of 8 MB each, which no compressor makes smaller."""
    folder = tmp_path_factory.mktemp("wheels")
    for number in range(3):
        noise = random.Random(number).randbytes(4 << 20)
        files = {f"m{number}/{part}.bin": noise + bytes([part]) for part in range(2)}
        write_wheel(folder, Recipe(name=f"m{number}", files=files))
    return folder


@pytest.fixture(scope="module")
def expected(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    done = subprocess.run(layering(tmp_path_factory.mktemp("clean"), wheels), **PIPED, check=True)
    assert len(done.stdout.splitlines()) == 3
    return done.stdout


PIPED = {"cwd": ROOT, "stdout": subprocess.PIPE, "text": True}


def sound(store: Store) -> bool:
    """Return whether all that ``cache verify`` looks at is sound."""
    return not any(kind.damaged for kind in examine(context(store)))


def layering(store: Path, wheels: Path) -> list[str | Path]:
    return [sys.executable, "-c", LAYERING, store, wheels]


def test_a_full_disk_is_one_clear_error(wheels: Path, tmp_path: Path) -> None:
    """The store lies on a file system of 12 MB: room for the first wheel, not for its layer."""
    mount = 'mount -t tmpfs -o size=12m none "$0" && "$@"; ls "$0/tmp" "$0/blobs/sha256"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, tmp_path]
    done = subprocess.run([*command, *layering(tmp_path, wheels)], **PIPED, check=True)
    error, *names = done.stdout.splitlines()
    code, message, hint = json.loads(error)
    assert code == 7
    assert "full" in message
    assert str(tmp_path) in message
    assert "cache prune" in hint
    assert [name for name in names if name and not name.endswith(":")] == [
        Digest.of(path.read_bytes()).hex for path in sorted(wheels.glob("*.whl"))[:1]
    ]


def _entries(folder: Path) -> int:
    """Count what lies in a folder, however deep."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


def test_kill_at_any_moment(wheels: Path, expected: str, tmp_path: Path) -> None:
    """Each run is killed a few files later than the one before; the next repairs what it left."""
    store = Store(tmp_path / "store")
    for files in itertools.count(1, 3):
        with subprocess.Popen(layering(store.root, wheels), **PIPED) as process:
            while process.poll() is None and _entries(store.root) < files:
                time.sleep(0.001)
            process.kill()
            output = process.communicate()[0]
        assert expected.startswith(output)
        assert sound(store), "a name in the store always means a whole blob or record"
        if output == expected:
            break
    assert subprocess.run(layering(store.root, wheels), **PIPED, check=True).stdout == expected
    assert os.listdir(store.root / "tmp") == []  # noqa: PTH208
    for path in wheels.glob("*.whl"):
        digest = Digest.of(path.read_bytes())
        assert not store.has(digest)
        with wheel_file(store, digest) as again:
            assert again.read_bytes() == path.read_bytes()


def test_builds_at_once_on_one_store(wheels: Path, expected: str, tmp_path: Path) -> None:
    command = layering(tmp_path / "store", wheels)
    processes = [subprocess.Popen(command, **PIPED) for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == [expected] * 3
    assert sound(Store(tmp_path / "store"))


def test_other_targets_at_once_from_one_wheel(wheels: Path, tmp_path: Path) -> None:
    """One layer takes the wheel out of the store while others still want to read it."""
    store = Store(tmp_path / "store")
    path = min(wheels.glob("*.whl"))
    wheel = WheelInput(filename=path.name, sha256=store.adopt(path, Digest.of(path.read_bytes())))
    start = (
        "import sys; from pathlib import Path; from envbuilder.layers.wheel import *\n"
        f"store, wheel = Store(Path({str(store.root)!r})), WheelInput(filename={wheel.filename!r},"
        f" sha256=Digest({wheel.sha256.hex!r}))\n"
        "for minor in range(10, 16):\n"
        "    target = Target(python=f'3.{minor}', prefix=f'/opt/{sys.argv[1]}')\n"
        "    wheel_layer(store, [wheel], target=target, title='')\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", start, name], cwd=ROOT) for name in ("a", "b")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    one = wheel_layer(store, [wheel], target=TARGET, title="")
    fresh = WheelInput(filename=wheel.filename, sha256=wheel.sha256, path=path)
    assert one == wheel_layer(Store(tmp_path / "fresh"), [fresh], target=TARGET, title="")
