"""Gemma 4: the image scaled into a budget of patches, whole pooling windows, each one token."""

from __future__ import annotations

import math
from typing import Any, Sequence

from ..edges import number
from ..facts import Facts
from ..samples import Sample

SOURCE = "transformers, get_aspect_ratio_preserving_size of Gemma 4; its vision pooler"
IMAGE_TOKENS, FRAME_TOKENS = 280, 70
"""The most tokens of an image and of a video's frame, unless the files say otherwise."""


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the tokens of an image or of a video's frames; of sound None, which its mask decides.

    ``max_soft_tokens`` is the image's: the video's stands in its own part, ``video_processor``.
    """
    if sample.modality == "audio":
        return None
    vision = config.vision_config
    unit = vision.patch_size * vision.pooling_kernel_size
    if sample.modality == "video":
        limits = stated.get("video_processor") or {}
        most = number(limits.get("max_soft_tokens")) or FRAME_TOKENS
        return int(sample.shape[0] * windows(sample.shape[1:], most, unit))
    most = number(stated.get("max_soft_tokens")) or IMAGE_TOKENS
    return windows(sample.shape, most, unit)


def windows(shape: Sequence[int], most: int, unit: int) -> int:
    """Return the pooling windows of ``unit`` px in an image that is scaled to ``most`` of them.

    Both sides are rounded down. A side that comes to nothing becomes one window, and the other one
    as many as the image is longer than it is wide.
    """
    height, width = shape
    scale = math.sqrt(most * unit**2 / (height * width))
    high, wide = math.floor(scale * height / unit), math.floor(scale * width / unit)
    if not high:
        high, wide = 1, min(width // height, most)
    elif not wide:
        high, wide = min(height // width, most), 1
    return high * wide
