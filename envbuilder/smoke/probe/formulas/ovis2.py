"""Ovis2: the fewest tiles that, each shrunk to one side, keep nine tenths of the image's pixels."""

from __future__ import annotations

from typing import Any

from ..edges import number
from ..facts import Facts
from ..samples import Sample

SOURCE = "AIDC-AI/Ovis, Aimv2VisualTokenizer.preprocess_image: _get_best_grid and hidden_stride"
COVERED = 0.9
"""The share of the image's area that the tiles have to keep."""


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``: of its tiles, and of the whole beside several."""
    vision = config.vision_config
    side, most = number(stated.get("size")), stated.get("max_patches")
    if not side or not most or not stated.get("use_covering_area_grid", True):
        return None
    each = (vision.image_size // vision.patch_size // vision.hidden_stride) ** 2
    tiles = fewest(*sample.shape, side=side, most=most) if stated.get("crop_to_patches") else 1
    return int((tiles + (tiles > 1)) * each)


def fewest(height: int, width: int, *, side: int, most: int) -> int:
    """Return how many tiles cover the image; of those that cannot, those that keep the most."""
    counts = range(1, most + 1)
    grids = [(rows, columns) for rows in counts for columns in counts if rows * columns <= most]
    kept = {grid: covered(height, width, *grid, side=side) for grid in grids}
    enough = [rows * columns for (rows, columns), share in kept.items() if share > COVERED]
    best = max(kept.values())
    fullest = [rows * columns for (rows, columns), share in kept.items() if share == best]
    return min(enough or fullest)


def covered(height: int, width: int, rows: int, columns: int, *, side: int) -> float:
    """Return the share of the image that tiles keep which are shrunk to at most ``side`` long.

    The last row and column take what is left over.
    """
    heights = [height // rows] * (rows - 1) + [height - height // rows * (rows - 1)]
    widths = [width // columns] * (columns - 1) + [width - width // columns * (columns - 1)]
    kept = 0.0
    for high in heights:
        for wide in widths:
            longer, shorter = max(high, wide), min(high, wide)
            kept += longer * shorter if longer <= side else side * (shorter / longer * side)
    return kept / (height * width)
