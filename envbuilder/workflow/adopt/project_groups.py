"""[dependency-groups] of a pyproject.toml (PEP 735): lines by name, and groups of groups."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

Groups = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What a group asks for with those that it includes; ``wrong`` is what cannot be read of it."""

    lines: tuple[str, ...]
    includes: frozenset[str]
    wrong: tuple[str, ...]


def groups_of(table: Mapping[str, Any], development: Sequence[str] = ()) -> Groups:
    """Return groups by their normalised names; ``development`` are uv's old dev-dependencies."""
    found: dict[str, Sequence[Any]] = {
        canonicalize_name(name): items if isinstance(items, list) else [items]
        for name, items in table.items()
    }
    if development:
        found["dev"] = [*found.get("dev", ()), *development]
    return found


def read_group(groups: Groups, name: str) -> Group:
    """Read the group ``name``; one that others include, or a ring, is read once."""
    lines: list[str] = []
    wrong: list[str] = []
    waiting, seen = deque([name]), {name}
    while waiting:
        for item in groups[waiting.popleft()]:
            inner = _included(item)
            if isinstance(item, str):
                lines.append(item)
            elif inner is None:
                wrong.append(f"{item!r} is neither a requirement nor an include-group")
            elif inner not in groups:
                wrong.append(f"no group is named {inner!r}")
            elif inner not in seen:
                seen.add(inner)
                waiting.append(inner)
    return Group(lines=tuple(lines), includes=frozenset(seen - {name}), wrong=tuple(wrong))


def _included(item: object) -> str | None:
    if isinstance(item, dict) and item.keys() == {"include-group"}:
        return canonicalize_name(str(item["include-group"]))
    return None
