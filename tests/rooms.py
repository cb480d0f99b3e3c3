"""The rooms of the package, read from its imports; ``python -m tests.rooms`` draws them.

``docs/rooms.svg`` is this drawing, and ``tests/unit/test_imports.py`` compares the two: the picture
shows what the code imports, and nothing else.
"""

from __future__ import annotations

import ast
import textwrap
from collections import defaultdict
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "envbuilder"
PICTURE = ROOT / "docs" / "rooms.svg"

_WIDTH, _HEIGHT = 264, 84  # of a box, in pixels
_ACROSS, _DOWN = 60, 46  # between boxes
_PER_LINE = 36  # characters of a box's text


def modules() -> list[Path]:
    """List every module of a room, but the probe: it runs elsewhere and imports nothing of ours."""
    found = (path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE)
    return [path for path in found if "probe" not in path.relative_to(PACKAGE).parts]


def room_of(path: Path) -> str:
    """Return the name of the room that a module lies in."""
    return path.relative_to(PACKAGE).parts[0]


@cache
def imports(path: Path) -> frozenset[str]:
    """Return, as absolute dotted names, whatever a module imports, at any depth."""
    here = ("envbuilder", *path.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            dotted = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{dotted}.{alias.name}" for alias in node.names}
    return frozenset(found)


def used_rooms(path: Path) -> set[str]:
    """Return the other rooms that a module imports from."""
    names = (name.split(".") for name in imports(path))
    used = {parts[1] for parts in names if parts[0] == "envbuilder" and len(parts) > 1}
    return {room for room in used - {room_of(path)} if (PACKAGE / room).is_dir()}


def graph() -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in modules():
        found[room_of(path)] |= used_rooms(path)
    return dict(found)


def draw() -> str:
    """Return the rooms as an SVG: each above those that use it, arrows pointing at what is used.

    An arrow that follows from two others is left out.
    """
    uses = graph()
    floors = _floors(uses)
    widest = max(len(rooms) for rooms in floors)
    width = widest * (_WIDTH + _ACROSS) + _ACROSS
    height = len(floors) * (_HEIGHT + _DOWN) + _DOWN
    places = {
        room: (_left(width, len(rooms), column), _DOWN + floor * (_HEIGHT + _DOWN))
        for floor, rooms in enumerate(floors)
        for column, room in enumerate(rooms)
    }
    arrows = [_arrow(places[a], places[b]) for a in places for b in sorted(_direct(uses, a))]
    boxes = [_box(room, *place) for room, place in places.items()]
    return "\n".join([_HEAD.format(width=width, height=height), *arrows, *boxes, "</svg>", ""])


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
font-family="sans-serif">
<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0 0L10 5L0 10z" fill="#567"/></marker></defs>
<rect width="{width}" height="{height}" fill="#fff"/>"""


def _floors(uses: dict[str, set[str]]) -> list[list[str]]:
    """Put each room one floor below the lowest that it uses."""

    def floor(room: str) -> int:
        return max((floor(used) + 1 for used in uses[room]), default=0)

    found: dict[int, list[str]] = defaultdict(list)
    for room in sorted(uses):
        found[floor(room)].append(room)
    return [found[number] for number in sorted(found)]


def _direct(uses: dict[str, set[str]], room: str) -> set[str]:
    """Return the rooms that ``room`` uses, less those that one of them uses, too."""

    def below(start: str) -> set[str]:
        return uses[start].union(*(below(used) for used in uses[start]))

    return uses[room] - set().union(*(below(used) for used in uses[room]))


def _left(width: int, count: int, column: int) -> int:
    taken = count * _WIDTH + (count - 1) * _ACROSS
    return (width - taken) // 2 + column * (_WIDTH + _ACROSS)


def _box(room: str, x: int, y: int) -> str:
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8"))) or ""
    lines = textwrap.wrap(text.split("\n\n")[0], _PER_LINE)[:3]
    shown = "".join(
        f'<text x="{x + 12}" y="{y + 42 + 15 * row}" font-size="12" fill="#345">'
        f"{escape(line)}</text>"
        for row, line in enumerate(lines)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#eef4f8" '
        f'stroke="#567"/><text x="{x + 12}" y="{y + 23}" font-size="16" font-weight="bold" '
        f'fill="#123">{room}/</text>{shown}'
    )


def _arrow(user: tuple[int, int], used: tuple[int, int]) -> str:
    """Draw from the user's box to the used one: straight up, or around the floors in between."""
    (x1, y1), (x2, y2) = user, used
    if y1 - y2 == _HEIGHT + _DOWN:
        start, end = (x1 + _WIDTH // 2, y1), (x2 + _WIDTH // 2, y2 + _HEIGHT + 2)
        bends = (start[0], start[1] - _DOWN // 2), (end[0], end[1] + _DOWN // 2)
    else:
        side = 0 if x2 < x1 else _WIDTH
        start, end = (x1 + side, y1 + _HEIGHT // 2), (x2 + side, y2 + _HEIGHT // 2)
        out = end[0] + (_ACROSS if side else -_ACROSS) * 2 // 3
        bends = (out, start[1]), (out, end[1])
    path = "M{} {}C{} {} {} {} {} {}".format(*start, *bends[0], *bends[1], *end)
    return f'<path d="{path}" fill="none" stroke="#567" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
