"""A wheel's layer at another place: with the little layer above it, it is the wheel laid there."""

import tarfile
from pathlib import Path

import pytest

from envbuilder.layers.install import Target
from envbuilder.layers.moved import moved_layer
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from tests.wheels import Recipe, as_wheel, write_wheel

SHIPPED = Target(python="3.11")
PLACE = "/opt/build"
WHEEL = Recipe(
    files={
        "demo/__init__.py": b"def main(): pass\n",
        "demo/big.bin": b"big" * 70_000,
        "demo-1.0.data/scripts/tool": b"#!python\nprint()\n",
        "demo-1.0.data/scripts/plain": b"#!/bin/sh\n",
        "demo-1.0.data/data/share/demo/x": b"x",
        "demo-1.0.data/headers/demo.h": b"h",
    },
    modes={"demo-1.0.data/scripts/plain": 0o755},
    entry_points="[console_scripts]\ndemo = demo:main\n",
)
URL = b'{"url": "https://example.com/demo.git", "vcs_info": {"vcs": "git"}}'


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def given(store: Store, folder: Path, recipe: Recipe = WHEEL, **options) -> WheelInput:
    path = write_wheel(folder, recipe)
    store.add(path.read_bytes())
    return WheelInput(filename=path.name, sha256=as_wheel(path).sha256, **options)


def files(store: Store, layer: Layer) -> dict[str, tuple[int, bytes]]:
    with tarfile.open(store.path(layer.digest)) as tar:
        members = [each for each in tar.getmembers() if each.isfile()]
        return {each.name: (each.mode, tar.extractfile(each).read()) for each in members}


def above(lower: dict[str, tuple[int, bytes]], upper: dict[str, tuple[int, bytes]]):
    """Lay one on the other, as overlayfs does with what deletes."""
    gone = {path.replace(".wh.", "") for path in upper if "/.wh." in path}
    kept = {path: file for path, file in lower.items() if path not in gone}
    return kept | {path: file for path, file in upper.items() if "/.wh." not in path}


@pytest.mark.parametrize("more", [{}, {"requested": True}, {"requested": True, "direct_url": URL}])
def test_both_layers_together_are_the_wheel_at_the_other_place(store, tmp_path, more):
    wheel = given(store, tmp_path, **more)
    moved = moved_layer(store, wheel, target=SHIPPED, prefix=PLACE, title="moved")
    shipped = wheel_layer(store, [wheel], target=SHIPPED, title="shipped")
    plain = WheelInput(filename=wheel.filename, sha256=wheel.sha256)
    there = wheel_layer(store, [plain], target=Target(python="3.11", prefix=PLACE), title="there")
    seen = {
        path.replace("opt/venv/", "opt/build/", 1): file
        for path, file in files(store, shipped).items()
    }
    assert above(seen, files(store, moved)) == files(store, there)
    assert moved.title == "moved"
    assert set(files(store, moved)) >= {"opt/build/bin/demo", "opt/build/bin/tool"}
    assert moved.size < len(WHEEL.files["demo/big.bin"]) / 10  # which is in the other one


def test_a_wheel_that_is_the_same_at_both_places_has_a_layer_of_its_own_there(store, tmp_path):
    """Overlayfs takes neither a folder that is not there nor one folder twice."""
    wheels = [
        given(store, tmp_path, Recipe(name=name, files={f"{name}/lib.so": b"\x7fELF"}))
        for name in ("cublas", "cudnn")
    ]
    made = [
        moved_layer(store, wheel, target=SHIPPED, prefix=PLACE, title="moved") for wheel in wheels
    ]
    assert all(
        f"{PLACE[1:]}/lib/python3.11/site-packages/{name}-1.0.dist-info/RECORD"
        in files(store, layer)
        for name, layer in zip(("cublas", "cudnn"), made, strict=True)
    )
    assert made[0].digest != made[1].digest


def test_it_is_made_once_and_out_of_the_layer_if_need_be(store, tmp_path):
    wheel = given(store, tmp_path)
    wheel_layer(store, [wheel], target=SHIPPED, title="shipped")
    assert not store.has(wheel.sha256)
    moved = moved_layer(store, wheel, target=SHIPPED, prefix=PLACE, title="moved")
    again = Store(store.root)
    assert moved_layer(again, wheel, target=SHIPPED, prefix=PLACE, title="moved") == moved


def test_another_place_python_or_wish_is_another_layer(store, tmp_path):
    wheel, asked = given(store, tmp_path), given(store, tmp_path, requested=True)
    ways = [
        (wheel, SHIPPED, PLACE),
        (wheel, SHIPPED, "/opt/more"),
        (wheel, Target(python="3.12"), PLACE),
        (asked, SHIPPED, PLACE),
    ]
    made = [
        moved_layer(store, each, target=target, prefix=place, title="moved")
        for each, target, place in ways
    ]
    assert len({layer.digest for layer in made}) == len(ways)


def test_a_damaged_wheel_is_told_and_dropped(store, tmp_path):
    wheel = given(store, tmp_path)
    store.path(wheel.sha256).write_bytes(write_wheel(tmp_path, Recipe(files={})).read_bytes())
    with pytest.raises(BuildError, match="is not what was locked"):
        moved_layer(store, wheel, target=SHIPPED, prefix=PLACE, title="moved")
    assert not store.has(wheel.sha256)


def test_a_wheel_that_is_not_there(store):
    gone = WheelInput(filename="demo-1.0-py3-none-any.whl", sha256=Digest.of(b"gone"))
    with pytest.raises(BuildError, match="is not in the store"):
        moved_layer(store, gone, target=SHIPPED, prefix=PLACE, title="moved")
