"""What the Qwen vision models share: patch grids, and images resized to whole patches."""

from __future__ import annotations

import math
from typing import Sequence

from ..facts import Facts

QWEN2_VL_IMAGES = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "merge_size": 2,
    "temporal_patch_size": 2,
}
"""The picture part of Qwen2-VL's, Qwen2.5-VL's and Qwen2.5-Omni's ``preprocessor_config.json``."""


def limits(images: Facts) -> Facts:
    """Return what :func:`resized` needs of an image processor's settings."""
    return {name: images[name] for name in ("patch_size", "merge_size", "min_pixels", "max_pixels")}


def vision_tokens(grid: Sequence[int], merge: int) -> int:
    """Return the tokens of a (t, h, w) patch grid, ``merge`` by ``merge`` patches pooled."""
    return math.prod(grid) // merge**2


def resized(shape: Sequence[int], settings: Facts) -> tuple[int, int]:
    """Return the size that an image is resized to before it is cut into patches.

    Source: ``smart_resize`` of transformers' Qwen2-VL image processor: each side to the nearest
    multiple of patch·merge, then both scaled together into [min_pixels, max_pixels].
    """
    height, width = shape
    factor = settings["patch_size"] * settings["merge_size"]
    least, most = settings["min_pixels"], settings["max_pixels"]
    high, wide = round(height / factor) * factor, round(width / factor) * factor
    if high * wide > most:
        scale = math.sqrt(height * width / most)
        high = max(factor, math.floor(height / scale / factor) * factor)
        wide = max(factor, math.floor(width / scale / factor) * factor)
    elif high * wide < least:
        scale = math.sqrt(least / (height * width))
        high = math.ceil(height * scale / factor) * factor
        wide = math.ceil(width * scale / factor) * factor
    return high, wide
