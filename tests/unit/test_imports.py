"""The house has a direction: a room uses the rooms that its line names, all of them further up."""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.rooms import PACKAGE, PICTURE, draw, graph, imports, modules, room_of, used_rooms

ROOMS = {  # each room, and the rooms it imports; docs/architecture.md has the same as a picture
    "model": "",
    "storage": "model",
    "net": "model",
    "layers": "model storage",
    "registry": "model storage net layers",
    "runtime": "model storage net layers registry",
    "resolve": "model storage net layers registry runtime",
    "engines": "model storage net layers registry resolve",
    "smoke": "model storage runtime",
    "evidence": "model storage net layers registry",
    "workflow": "model storage net layers registry runtime resolve engines smoke evidence",
    "cli": "model storage layers registry runtime resolve engines smoke evidence workflow",
}
OWNERS = {
    "docker": {"runtime"},
    "requests": {"net"},
    "git": {"resolve", "workflow"},
    "click": {"cli"},
    "rich": {"cli"},
    "yaml": {"model", "runtime"},
    "jinja2": {"engines", "smoke", "workflow"},
}
LOOSE = {"__init__.py", "__main__.py"}


def used_libraries(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} & OWNERS.keys()


def test_nothing_stands_loose_beside_the_rooms():
    assert {path.name for path in PACKAGE.glob("*.py")} == LOOSE
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == ROOMS.keys()


def test_every_room_lies_above_those_that_use_it():
    above: set[str] = set()
    for room, used in ROOMS.items():
        assert set(used.split()) <= above, f"{room} uses a room that does not lie above it"
        above.add(room)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_what_its_room_may(path):
    allowed = set(ROOMS[room_of(path)].split())
    assert used_rooms(path) <= allowed, f"{room_of(path)} may import {sorted(allowed)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path):
    for library in used_libraries(path):
        assert room_of(path) in OWNERS[library], f"{library} belongs to {OWNERS[library]}"


def test_every_permission_is_used():
    libraries = defaultdict(set)
    for path in modules():
        for library in used_libraries(path):
            libraries[library].add(room_of(path))
    assert {room: set(used.split()) for room, used in ROOMS.items()} == graph()
    assert libraries == OWNERS


def test_the_picture_shows_these_imports():
    assert PICTURE.read_text("utf-8") == draw(), "draw it anew: python -m tests.rooms"
