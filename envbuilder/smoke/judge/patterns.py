"""What the items that are counted wrong have in common, which one alone does not show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]
REFERENCES = ("formula", "embeddings")
"""What placeholders are compared with."""
STEPS = (2, 4)
"""Frames that families join to one step in time."""
VIEW = 0.5
"""The least share of the largest image of one view that counts as a view: they differ by shape."""


def pattern(items: Iterable[Item]) -> str:
    """Return what tells the wrong ones of ``items`` from the right ones; "" if nothing is known.

    "one view off": images in several tiles lack, or have too many, what one that needs none has.
    "long items only": all that are longer than the longest right one. "rest of frames": videos
    whose frames do not fill whole steps. "one an item": each has one placeholder for many rows.
    """
    counted = [item for item in items if "placeholders" in item and item.get("shape")]
    wrong = [item for item in counted if _difference(item)]
    if wrong and all(item["placeholders"] == 1 and _difference(item) < -1 for item in wrong):
        return "one an item"
    kinds = {item["modality"] for item in wrong}
    against = {name for item in wrong for name in REFERENCES if _differs(item, name)}
    right = [
        item
        for item in counted
        if not _difference(item)
        and item["modality"] in kinds
        and any(item.get(name) is not None for name in against)
    ]
    if not right or len(kinds) > 1:
        return ""
    if kinds == {"audio"}:
        longest = max(item["shape"][0] for item in right)
        return "long items only" if all(one["shape"][0] > longest for one in wrong) else ""
    if kinds == {"video"} and any(_rests(wrong, right, step) for step in STEPS):
        return "rest of frames"
    view = max(item["placeholders"] for item in right)
    off = all(VIEW * view <= abs(_difference(one)) <= view for one in wrong)
    return "one view off" if off else ""


def _difference(item: Item) -> int:
    """Return how many placeholders ``item`` has too many, by the first number that disagrees."""
    found = (item["placeholders"] - item[name] for name in REFERENCES if _differs(item, name))
    return next(found, 0)


def _differs(item: Item, name: str) -> bool:
    """Return whether ``item`` has the number ``name``, and another one than its placeholders."""
    return item.get(name) not in (None, item["placeholders"])


def _rests(wrong: Sequence[Item], right: Sequence[Item], step: int) -> bool:
    """Return whether a rest of frames after whole steps is what tells ``wrong`` from ``right``."""
    return all(one["shape"][0] % step for one in wrong) and not any(
        one["shape"][0] % step for one in right
    )
