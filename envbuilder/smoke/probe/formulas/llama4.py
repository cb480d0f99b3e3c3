"""Llama 4: tiles on the canvas that scales the image least, and one more tile of the whole."""

from __future__ import annotations

from typing import Any

from ..edges import number
from ..facts import Facts
from ..samples import Sample

SOURCE = "llama-models, ResizeNormalizeImageTransform; pixel shuffle by pixel_shuffle_ratio"


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the patch tokens of ``sample``."""
    side, most = number((stated.get("size") or {}).get("height")), stated.get("max_patches")
    if not side or not most or stated.get("resize_to_max_canvas"):
        return None
    vision = config.vision_config
    rows, columns = canvas(sample.shape[0] / side, sample.shape[1] / side, most)
    tiles = rows * columns + (rows * columns > 1)
    each = (vision.image_size // vision.patch_size) ** 2 * vision.pixel_shuffle_ratio**2
    return int(tiles * round(each))


def canvas(height: float, width: float, most: int) -> tuple[int, int]:
    """Return the (rows, columns) of tiles for an image that is so many tiles high and wide.

    Of canvases that need no shrinking the one that enlarges least, else the one that shrinks least;
    of equals the smallest.
    """
    counts = range(1, most + 1)
    sizes = [(rows, columns) for rows in counts for columns in counts if rows * columns <= most]
    scales = {size: min(size[0] / height, size[1] / width) for size in sizes}
    enough = [scale for scale in scales.values() if scale >= 1]
    chosen = min(enough) if enough else max(scales.values())
    fitting = [size for size, scale in scales.items() if abs(scale - chosen) < 1e-9]
    return min(fitting, key=lambda size: size[0] * size[1])
