"""Idefics3 and SmolVLM: square tiles and one of the whole image; of a video, one for each frame."""

from __future__ import annotations

import math
from typing import Any

from ..edges import number
from ..facts import Facts
from ..samples import Sample

SOURCE = "transformers, Idefics3ImageProcessor: the longest edge first, then whole tiles"


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``: patches of a tile, shuffled by the scale factor."""
    vision = config.vision_config
    each = (vision.image_size // vision.patch_size) ** 2 // config.scale_factor**2
    if sample.modality == "video":
        return int(sample.shape[0] * each)
    tile, longest = number(stated.get("max_image_size")), number(stated.get("size"))
    if not tile or not longest:
        return None
    if not stated.get("do_image_splitting", True):
        return int(each)
    rows, columns = tiles(*sample.shape, longest=longest, tile=tile)
    return int((rows * columns + (rows * columns > 1)) * each)


def tiles(height: int, width: int, *, longest: int, tile: int) -> tuple[int, int]:
    """Return the (rows, columns) of tiles: each side grows to whole tiles, the longer one first."""
    high, wide = _longest(height, width, longest)
    aspect = wide / high
    if wide >= high:
        columns = math.ceil(wide / tile)
        return math.ceil(int(columns * tile / aspect) / tile), columns
    rows = math.ceil(high / tile)
    return rows, math.ceil(int(rows * tile * aspect) / tile)


def _longest(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return the size whose longer side is ``longest``, the other one even."""
    aspect = width / height
    if width >= height:
        high = int(longest / aspect)
        return max(1, high + high % 2), longest
    wide = int(longest * aspect)
    return longest, max(1, wide + wide % 2)
