"""MiniCPM-V: the whole image near one square's area, and slices of it if it is larger than one."""

from __future__ import annotations

import math
from typing import Any

from ..edges import number
from ..facts import Facts
from ..samples import Sample

SOURCE = "OpenBMB/MiniCPM-V, slice_image and its resampler; 4 or 16 patches become one token"
PIECES = {"16x": 4, "4x": 2}
"""Patches of a side that become one token, by ``downsample_mode``."""


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the tokens of an image; of a video those of each of its frames."""
    known = stated if sample.modality == "image" else stated.get("video_processor") or {}
    side, most = number(known.get("scale_resolution")), number(known.get("max_slice_nums"))
    mode = PIECES.get(config.downsample_mode)
    if not side or not most or not mode:
        return None
    unit = config.vision_config.patch_size * mode
    height, width = sample.shape[-2:]
    rows, columns = slices(height, width, side, most) if known.get("slice_mode", True) else (1, 1)
    if rows * columns == 1:
        each = view(height, width, side, unit, grow=True)
    else:
        # of a slice, after the image is rounded to sides that the slices divide
        high, wide = nearest(height, rows) // rows, nearest(width, columns) // columns
        each = view(height, width, side, unit) + rows * columns * view(
            high, wide, side, unit, grow=True
        )
    return each * (sample.shape[0] if sample.modality == "video" else 1)


def nearest(length: float, divisor: int) -> int:
    """Return the multiple of ``divisor`` nearest to ``length``, and never none."""
    return max(round(length / divisor) * divisor, divisor)


def view(height: float, width: float, side: int, unit: int, *, grow: bool = False) -> int:
    """Return the tokens of one view, scaled to the area of a square of ``side`` px.

    A smaller one stays as it is, unless it may ``grow``.
    """
    if grow or height * width > side**2:
        ratio = width / height
        height = int(side / math.sqrt(ratio))
        width = int(height * ratio)
    return nearest(height, unit) // unit * (nearest(width, unit) // unit)


def slices(height: int, width: int, side: int, most: int) -> tuple[int, int]:
    """Return the (rows, columns) whose proportion is the image's, of about as many as it is large.

    (1, 1) is not sliced. Of two that are equally near, that with more rows.
    """
    wanted = min(math.ceil(height * width / side**2), most)
    if wanted <= 1:
        return 1, 1
    counts = [n for n in (wanted - 1, wanted, wanted + 1) if 1 < n <= most]
    grids = [(rows, count // rows) for count in counts for rows in divisors(count)]
    ratio = math.log(width / height)
    return min(grids, key=lambda grid: (abs(ratio - math.log(grid[1] / grid[0])), -grid[0]))


def divisors(number: int) -> list[int]:
    """Return what divides ``number``."""
    return [each for each in range(1, number + 1) if number % each == 0]
