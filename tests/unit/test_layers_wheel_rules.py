"""Names that a wheel may not use: a case for every line of the tables, honest ones beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuilder.layers.install import Target
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.layers.wheel_rules import (
    ENTRY_POINTS,
    MEMBER_RULES,
    PATH_RULES,
    SCRIPT_RULES,
    Rule,
    broken,
    broken_member,
)
from envbuilder.model.errors import BuildError
from envbuilder.storage.store import Store
from tests.wheels import Recipe, as_wheel, write_wheel

TARGET = Target(python="3.11")

BAD_MEMBERS = [
    ("a\0b", "NUL"),
    ("a\nb", "control character"),
    ("demo/\x1b[2Jx.py", "control character"),
    ("demo/\u202eyp.x", "control character"),
    ("/etc/passwd", "absolute"),
    ("a/../../b", "climbs out"),
    ("a//b", "empty or a dot"),
    ("./a", "empty or a dot"),
    (".wh.torch", "deletes files"),
    ("demo/.wh..wh..opq", "deletes files"),
    ("demo/.wh.x/y.py", "deletes files"),
    ("demo/" + "n" * 256, "255 bytes"),
    ("demo/" + "é" * 128, "255 bytes"),
    ("a/" * 200 + "b", "folders deep"),
]
GOOD_MEMBERS = [
    "demo/__init__.py", "demo/", "demo/x.wh.y", "demo/.what", "ü/ö.py", "a b/c,d.py", "..x/y..",
    "n" * 255, "a/" * 100 + "b", "demo/back\\slash",
]  # fmt: skip
BAD_SCRIPTS = [
    ("x\x1by", "control character"),
    ("../x", "separator"),
    ("a\\b", "separator"),
    ("..", "names no file"),
    (".wh.pip", "deletes files"),
    ("n" * 256, "255 bytes"),
    ("python", "interpreter"),
    ("python3.11", "interpreter"),
]
GOOD_SCRIPTS = ["pip", "pip3.11", "python-argcomplete", "f2py", "a b", ".x", "x.py"]
BAD_PATHS = [
    ("bin/python", "interpreter"),
    ("bin/python3.11", "interpreter"),
    ("pyvenv.cfg", "settings"),
    ("lib64", "folder of the environment"),
    ("bin", "folder of the environment"),
]
GOOD_PATHS = ["bin/python-x", "bin/demo", "lib/", "lib/python3.11/site-packages/bin", "share/x"]


@pytest.mark.parametrize(
    ("rules", "bad", "good"),
    [
        (MEMBER_RULES, BAD_MEMBERS, GOOD_MEMBERS),
        (SCRIPT_RULES, BAD_SCRIPTS, GOOD_SCRIPTS),
        (PATH_RULES, BAD_PATHS, GOOD_PATHS),
    ],
    ids=["members", "scripts", "paths"],
)
def test_every_line_of_a_table_refuses_its_kind_and_no_honest_name(
    rules: tuple[Rule, ...], bad: list[tuple[str, str]], good: list[str]
) -> None:
    found = {name: broken(rules, name) for name, _ in bad}
    assert all(why in found[name] for name, why in bad), found
    assert set(found.values()) == {why for _, why in rules}, "a line without a case"
    assert {name: broken(rules, name) for name in good} == dict.fromkeys(good, "")


@pytest.mark.parametrize("name", [*(name for name, _ in BAD_MEMBERS), *GOOD_MEMBERS, "a.py"])
def test_the_short_way_and_the_table_agree(name: str) -> None:
    assert broken_member(name) == broken(MEMBER_RULES, name)


def refused(tmp_path: Path, recipe: Recipe) -> str:
    store = Store(tmp_path / "store")
    with pytest.raises(BuildError) as caught:
        wheel_layer(store, [wheel_of(tmp_path, recipe)], target=TARGET, title="hostile")
    assert store.ls() == []
    return caught.value.message


def wheel_of(tmp_path: Path, recipe: Recipe) -> WheelInput:
    return as_wheel(write_wheel(tmp_path, recipe))


@pytest.mark.parametrize(
    "name", ["a\nb", ".wh.torch", "demo/.wh..wh..opq", "demo-1.0.data/data/.wh.lib", "x" * 300]
)
def test_such_a_member_is_refused_by_name(tmp_path: Path, name: str) -> None:
    assert repr(name) in refused(tmp_path, Recipe(files={name: b""}))


@pytest.mark.parametrize("script", ["..\\x", ".wh.pip", "a/b", "python3"])
def test_such_a_script_is_refused_by_name(tmp_path: Path, script: str) -> None:
    recipe = Recipe(entry_points=f"[console_scripts]\n{script}=demo:main\n")
    assert f"named {script!r}" in refused(tmp_path, recipe)


@pytest.mark.parametrize(
    "files",
    [
        {"x.py": b"1", "demo-1.0.data/data/lib64/python3.11/site-packages/x.py": b"2"},
        {"demo-1.0.data/data/lib64/x": b"1", "demo-1.0.data/data/lib/x": b"2"},
        {"demo-1.0.data/scripts/x": b"#!python\n", "demo-1.0.data/data/bin/x": b"2"},
    ],
)
def test_one_path_by_two_ways_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert "twice" in refused(tmp_path, Recipe(files=files))


@pytest.mark.parametrize(
    "path", ["data/bin/python", "scripts/python3.11", "data/pyvenv.cfg", "data/lib64"]
)
def test_the_environment_itself_is_out_of_reach(tmp_path: Path, path: str) -> None:
    assert "replaces" in refused(tmp_path, Recipe(files={f"demo-1.0.data/{path}": b"x"}))


def test_thousands_of_scripts_are_refused(tmp_path: Path) -> None:
    lines = "\n".join(f"x{number}=demo:main" for number in range(ENTRY_POINTS + 1))
    recipe = Recipe(entry_points=f"[console_scripts]\n{lines}\n")
    assert f"more than {ENTRY_POINTS}" in refused(tmp_path, recipe)
