"""The house has a direction: a room may use what stands before it, never what comes after."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "envbuilder"

ROOMS = [  # each line may import from all lines above it, and from itself
    {"errors", "loopback", "shipped", "whole_file"},
    {"git_address", "reference", "progress", "document"},
    {"image", "spec", "quoting"},
    {"sample_files"},
    {"spec_file", "lock"},
    {"lock_file", "ledger"},
    {"plan", "layers"},
    {"layout"},
    {"registry", "runtime", "keep"},
    {"smoke"},
    {"open_image"},
    {"resolve", "inspect"},
    {"sources", "evidence", "difference", "settings"},
    {"render", "buildkit", "verify"},
    {"doctor"},
    {"diff", "engines", "gpu"},
    {"smoke_image"},
    {"pipeline"},
    {"publish"},
    {"bump"},
    {"bisect"},
    {"cli"},
    {"__main__"},
]
OWNERS = {
    "docker": {"runtime", "inspect"},
    "requests": {"registry"},
    "git": {"resolve", "sources", "bump", "bisect"},
    "click": {"cli"},
    "rich": {"cli"},
    "yaml": {"document", "runtime", "bump"},
    "jinja2": {"render", "smoke"},
}
FREE = {"__init__"}


def modules() -> list[Path]:
    """List every module but the probe, which runs elsewhere and imports nothing of ours."""
    return sorted(path for path in PACKAGE.rglob("*.py") if "probe" not in path.parts)


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


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
            found.add(dotted)
            found |= {f"{dotted}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = room_of(path)
    if room in FREE:
        return
    ranks = {name: rank for rank, names in enumerate(ROOMS) for name in names}
    assert room in ranks, f"{room} has no place in the house: add it to ROOMS"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "envbuilder" or len(parts) < 2 or parts[1] == room:
            continue
        other = parts[1]
        if other in ranks:
            assert ranks[other] < ranks[room], f"{room} must not import {other}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path):
    for name in imports(path):
        library = name.split(".")[0]
        if library in OWNERS:
            assert room_of(path) in OWNERS[library], f"{library} belongs to {OWNERS[library]}"
