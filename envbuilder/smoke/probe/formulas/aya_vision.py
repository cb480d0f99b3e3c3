"""Aya Vision: square tiles in the layout nearest to the image, and one more of the whole image."""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..families.internvl import layout
from ..samples import Sample

SOURCE = "transformers, GotOcr2ImageProcessor's tiles; AyaVisionMultiModalProjector shuffles pixels"


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``."""
    vision, most = config.vision_config, stated.get("max_patches")
    if not most:
        return None
    each = (vision.image_size // vision.patch_size // config.downsample_factor) ** 2
    if not stated.get("crop_to_patches", True):
        return int(each)
    rows, columns = layout(*sample.shape, side=vision.image_size, most=most)
    return int((rows * columns + (rows * columns > 1)) * each)
