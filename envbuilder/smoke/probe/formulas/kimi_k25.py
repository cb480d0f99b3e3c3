"""Kimi K2.5: the image shrunk into its budgets, padded to whole merged patches, each one token."""

from __future__ import annotations

import math
from typing import Any

from ..edges import number
from ..facts import Facts
from ..samples import Sample

SOURCE = "moonshotai/Kimi-K2.5, navit_resize_image of media_utils.py; MoonViT's pool over time"


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the tokens of an image; of a video those of a frame for each chunk of frames."""
    limits = stated if sample.modality == "image" else stated.get("video_processor") or {}
    side, most = (limits.get("size") or {}).get("max_height"), number(limits.get("max_patches"))
    if not side or not most:
        return None
    vision = config.vision_config
    height, width = shrunk(*sample.shape[-2:], patch=vision.patch_size, side=side, most=most)
    high, wide = vision.merge_kernel_size
    each = -(-height // (vision.patch_size * high)) * -(-width // (vision.patch_size * wide))
    chunks = 1
    if sample.modality == "video":
        chunks = math.ceil(sample.shape[0] / vision.pos_emb_time)
    return int(chunks * each)


def shrunk(height: int, width: int, *, patch: int, side: int, most: int) -> tuple[int, int]:
    """Return the size of at most ``side`` patches a side and ``most`` in all; it never grows.

    What the budget is divided by are whole patches of the original, of each side at least one.
    """
    patches = max(1, height // patch) * max(1, width // patch)
    scale = min(1.0, math.sqrt(most / patches), side * patch / height, side * patch / width)
    longest = side * patch
    return min(max(1, int(height * scale)), longest), min(max(1, int(width * scale)), longest)
