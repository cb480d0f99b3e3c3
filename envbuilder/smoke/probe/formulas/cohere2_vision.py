"""Command A Vision: tiles on the canvas that enlarges least, and one more tile of the whole."""

from __future__ import annotations

from typing import Any

from ..edges import number
from ..facts import Facts
from ..samples import Sample
from .llama4 import canvas

SOURCE = "transformers, get_optimal_tiled_canvas of Cohere2Vision; its projector shuffles pixels"


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``."""
    side, most = number(stated.get("size")), stated.get("max_patches")
    if not side or not most:
        return None
    vision = config.vision_config
    each = (vision.image_size // vision.patch_size // config.downsample_factor) ** 2
    if not stated.get("crop_to_patches", True):
        return int(each)
    rows, columns = canvas(sample.shape[0] / side, sample.shape[1] / side, most)
    return int((rows * columns + (rows * columns > 1)) * each)
