"""LFM2-VL: an image resized into its budget of tokens; of a large one the tiles beside it."""

from __future__ import annotations

import math
from typing import Any

from ..edges import number
from ..facts import Facts
from ..families.internvl import layout
from ..samples import Sample

SOURCE = "transformers, Lfm2VlImageProcessor: smart_resize, and tiles above twice the budget"
NEEDED = ("min_image_tokens", "max_image_tokens", "tile_size", "min_tiles", "max_tiles")


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``, ``downsample_factor`` patches of a side each."""
    least, most, tile, fewest, largest = (number(stated.get(name)) for name in NEEDED)
    if not least or not most or not tile or not fewest or not largest:
        return None
    patch = config.vision_config.patch_size
    unit = patch * config.downsample_factor
    whole = sized(*sample.shape, unit=unit, least=least, most=most)
    height, width = (max(patch, round(side / unit) * unit) for side in sample.shape)
    tolerated = most * unit**2 * stated.get("max_pixels_tolerance", 2.0)
    if height * width <= tolerated or not stated.get("do_image_splitting", True):
        return whole
    rows, columns = layout(*sample.shape, side=tile, least=fewest, most=largest)
    return int(rows * columns * (tile // unit) ** 2 + stated.get("use_thumbnail", True) * whole)


def sized(height: int, width: int, *, unit: int, least: int, most: int) -> int:
    """Return the tokens of the whole image, scaled to between ``least`` and ``most`` of them."""
    high, wide = max(1, round(height / unit)), max(1, round(width / unit))
    area = height * width / unit**2
    if high * wide > most:
        scale = math.sqrt(area / most) * unit
        high, wide = max(1, math.floor(height / scale)), max(1, math.floor(width / scale))
    elif high * wide < least:
        scale = math.sqrt(least / area) / unit
        high, wide = math.ceil(height * scale), math.ceil(width * scale)
    return high * wide
