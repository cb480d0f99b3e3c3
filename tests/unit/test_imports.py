"""The house has a direction: a room uses the rooms that its line names, all of them further up."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "envbuilder"

ROOMS = {  # each room, and the rooms it imports; docs/architecture.md has the same as a picture
    "model": "",
    "storage": "model",
    "net": "model",
    "layers": "model storage",
    "registry": "model storage net layers",
    "runtime": "model storage net layers registry",
    "resolve": "model storage net layers registry runtime",
    "engines": "model storage net layers registry resolve",
    "smoke": "model runtime",
    "evidence": "model storage net layers registry",
    "workflow": "model storage layers registry runtime resolve engines smoke evidence",
    "cli": "model storage layers registry runtime resolve engines smoke evidence workflow",
}
OWNERS = {
    "docker": {"runtime"},
    "requests": {"net"},
    "git": {"resolve", "workflow"},
    "click": {"cli"},
    "rich": {"cli"},
    "yaml": {"model", "runtime"},
    "jinja2": {"engines", "smoke"},
}
LOOSE = {"__init__.py", "__main__.py"}


def modules() -> list[Path]:
    """List every module of a room, but the probe: it runs elsewhere and imports nothing of ours."""
    found = sorted(path for path in PACKAGE.rglob("*.py") if "probe" not in path.parts)
    return [path for path in found if path.parent != PACKAGE]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imports(path: Path) -> set[str]:
    """Name, as absolute dotted names, whatever a module imports, at any depth."""
    here = ("envbuilder", *path.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            dotted = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{dotted}.{alias.name}" for alias in node.names}
    return found


def used_rooms(path: Path) -> set[str]:
    names = (name.split(".") for name in imports(path))
    rooms = {parts[1] for parts in names if parts[0] == "envbuilder" and len(parts) > 1}
    return rooms - {room_of(path), "__version__"}


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
    rooms, libraries = defaultdict(set), defaultdict(set)
    for path in modules():
        rooms[room_of(path)] |= used_rooms(path)
        for library in used_libraries(path):
            libraries[library].add(room_of(path))
    assert {room: set(used.split()) for room, used in ROOMS.items()} == {
        room: rooms[room] for room in ROOMS
    }
    assert libraries == OWNERS
