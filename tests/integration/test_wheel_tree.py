"""What a layer installs equals what ``uv pip install`` installs: paths, bytes and modes.

Popular wheels, which between them have every scheme of ``.data``, console scripts with extras,
namespace packages, executables, empty files, stored members and zip64; and two of the test's own
for what none of them has: non-ASCII names, data descriptors, files that RECORD forgot.
"""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from envbuilder.layers.install import Target
from envbuilder.layers.unpack import unpack
from envbuilder.layers.wheel import wheel_layer
from envbuilder.storage.store import Store
from tests.wheels import Recipe, as_wheel, member, write_wheel

pytestmark = [pytest.mark.integration]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
UV = Path(sys.executable).with_name("uv")

POPULAR = Path(__file__).with_name("popular_wheels.txt")

INSTALLER = re.compile(r"\.dist-info/INSTALLER$")
# uv's note about a wheel that lay on this disk, with the time; an index has none of it.
OWN = re.compile(r"\.dist-info/uv_cache\.json$")

DATA = "Odd_Name-1.0.data"
ODD = Recipe(
    name="Odd_Name",
    files={
        "odd/ünï ☃.txt": b"u",
        'odd/a "quoted", name.txt': b"q",
        "odd/forgotten.txt": b"not in RECORD",
        "odd/private.txt": b"p",
        "odd/executable": b"e",
        "odd/empty/": b"",
        f"odd/{'n' * 120}/{'m' * 120}.txt": b"long",
        f"{DATA}/purelib/odd_pure.py": b"1",
        f"{DATA}/platlib/odd_plat.py": b"2",
        f"{DATA}/headers/sub/odd.h": b"3",
        f"{DATA}/data/etc/odd/conf": b"4",
        f"{DATA}/data/bin/odd-data": b"#!python\n",
        f"{DATA}/scripts/odd-script": b"#!python -E\nprint(1)\n",
        f"{DATA}/scripts/odd-window": b"#!pythonw\r\nprint(1)\r\n",
        f"{DATA}/scripts/odd-shell": b"#!/bin/sh\n",
        f"{DATA}/scripts/odd-short": b"#!",
    },
    modes={"odd/executable": 0o711, "odd/private.txt": 0o600, f"{DATA}/data/bin/odd-data": 0o755},
    stored=frozenset({"odd/private.txt", f"{DATA}/scripts/odd-shell"}),
    entry_points=(
        "[console_scripts]\nodd=odd.cli : main.run [one, two]\nodd.dotted = odd:main\n"
        "[gui_scripts]\nodd-gui = odd:gui\n[other.group]\nx = y\n"
    ),
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    pip = (UV, "tool", "run", "--quiet", "--python", PYTHON, "pip")
    options = ("-qq", "--no-deps", "--only-binary", ":all:", "--dest", folder)
    subprocess.run([*pip, "download", *options, "-r", POPULAR], check=True)
    write_wheel(folder, ODD)
    described = Recipe(name="described", files={"described.py": b"1" * 5000, "empty_one.py": b""})
    (folder / described.filename).write_bytes(with_data_descriptors(described))
    return sorted(folder.glob("*.whl"))


def test_a_layer_installs_what_uv_installs(wheels: list[Path], tmp_path: Path) -> None:
    assert len(wheels) >= 42
    venv, layer = tmp_path / "venv", tmp_path / "layer"
    bare = by_uv(venv, wheels)
    by_layer(tmp_path / "store", layer, wheels, prefix=venv)
    expected, actual = tree(venv), tree(layer / venv.relative_to("/"))
    for path in (bare - actual.keys()) | {path for path in expected if OWN.search(path)}:
        del expected[path]
    assert sorted(expected) == sorted(actual)
    for path in expected:
        if path.endswith(".dist-info/RECORD"):
            assert rows(actual[path]) == rows(expected[path]), path
        elif not INSTALLER.search(path):
            assert actual[path] == expected[path], path


def by_uv(venv: Path, wheels: list[Path]) -> set[str]:
    """Install into a new virtual environment; return what was in it before."""
    subprocess.run([UV, "venv", "--quiet", "--no-project", "--python", PYTHON, venv], check=True)
    bare = set(tree(venv)) | {".lock"}
    names = ["==".join(wheel.name.split("-")[:2]) for wheel in wheels]
    options = ("--no-index", "--find-links", wheels[0].parent, "--no-deps")
    python = venv / "bin" / "python"
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", python, *options, *names], check=True
    )
    return bare


def by_layer(store: Path, into: Path, wheels: list[Path], *, prefix: Path) -> None:
    opened = Store(store)
    made = wheel_layer(
        opened,
        [as_wheel(wheel, requested=True) for wheel in wheels],
        target=Target(python=PYTHON, prefix=str(prefix)),
        title="all",
    )
    into.mkdir()
    unpack(opened.path(made.digest), made.media_type, into, diff_id=made.diff_id)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Map each path to its mode with type, and its content (a link's target, a file's bytes)."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            content = b""
            if stat.S_ISLNK(mode):
                content = os.fsencode(path.readlink())
            elif stat.S_ISREG(mode):
                content = path.read_bytes()
            found[str(path.relative_to(root))] = (mode, content)
    return found


def rows(record: tuple[int, bytes]) -> set[tuple[str, ...]]:
    """Read RECORD as a set of rows, without those of files that differ on purpose."""
    found = {tuple(row) for row in csv.reader(io.StringIO(record[1].decode()))}
    return {row for row in found if not (INSTALLER.search(row[0]) or OWN.search(row[0]))}


def with_data_descriptors(recipe: Recipe) -> bytes:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise io.UnsupportedOperation

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, data in recipe.contents().items():
            archive.writestr(member(name, recipe), data)
    assert all(info.flag_bits & 8 for info in archive.infolist())
    return pipe.getvalue()
