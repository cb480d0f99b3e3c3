"""DeepSeek-OCR 2: queries of the whole page, of its tiles if it is larger than one, and a last."""

from __future__ import annotations

from typing import Any

from ..edges import number
from ..facts import Facts
from ..families.internvl import layout
from ..samples import Sample

SOURCE = "deepseek-ai/DeepSeek-OCR-2, dynamic_preprocess and its 16-fold compression of patches"
COMPRESSION = 4
"""Patches of a side that become one query's: two strided convolutions behind SAM."""


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``."""
    side, tile = number(stated.get("size")), number(stated.get("tile_size"))
    least, most = stated.get("min_patches"), stated.get("max_patches")
    if not side or not tile or not least or not most:
        return None
    unit = config.vision_config.sam_config.patch_size * COMPRESSION
    tiles = 0
    if stated.get("crop_to_patches", True) and max(sample.shape) > tile:
        rows, columns = layout(*sample.shape, side=tile, least=least, most=most)
        tiles = rows * columns
    return int((side // unit) ** 2 + tiles * (tile // unit) ** 2 + 1)
