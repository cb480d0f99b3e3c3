"""GLM-4.xV: whole pairs of patches, scaled into limits that count the frames as well."""

from __future__ import annotations

import math
from typing import Any, Sequence

from ..facts import Facts
from ..samples import Sample

SOURCE = "transformers, smart_resize of GLM-4V: an image counts as two frames there"
FRAMES = 2
"""Frames that become one step in time (``temporal_patch_size``)."""


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``; of a video those of all its steps in time."""
    film = sample.modality == "video"
    limits = (stated.get("video_processor") or {}) if film else stated
    size, vision = limits.get("size") or {}, config.vision_config
    if not {"shortest_edge", "longest_edge"} <= set(size):
        return None
    frames = sample.shape[0] if film else FRAMES
    unit = vision.patch_size * vision.spatial_merge_size
    height, width = grown(sample.shape[-2:], unit)
    high, wide = round(height / unit), round(width / unit)
    pixels = round(frames / FRAMES) * FRAMES * high * wide * unit**2
    if pixels > size["longest_edge"]:
        scale = math.sqrt(frames * height * width / size["longest_edge"])
        high = max(1, math.floor(height / scale / unit))
        wide = max(1, math.floor(width / scale / unit))
    elif pixels < size["shortest_edge"]:
        scale = math.sqrt(size["shortest_edge"] / (frames * height * width))
        high, wide = math.ceil(height * scale / unit), math.ceil(width * scale / unit)
    return int(math.ceil(frames / FRAMES) * high * wide)


def grown(shape: Sequence[int], unit: int) -> tuple[int, int]:
    """Return the size, enlarged if a side is shorter than ``unit``."""
    height, width = shape
    scale = max(1.0, unit / height, unit / width)
    return int(height * scale), int(width * scale)
