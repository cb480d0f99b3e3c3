"""Qwen-VL's processors, from Qwen2-VL to Qwen3.5: whole merged patches within limits on pixels."""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..families._qwen_vision import resized
from ..samples import Sample

SOURCE = "transformers, smart_resize of the Qwen2-VL image processor, which its successors share"


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``; of a video None, whose limits are in another file.

    Patch and merge are the model's own: a processor that merges otherwise is what is looked for.
    """
    size, vision = stated.get("size") or {}, config.vision_config
    least = stated.get("min_pixels") or size.get("shortest_edge")
    most = stated.get("max_pixels") or size.get("longest_edge")
    if sample.modality != "image" or not least or not most:
        return None
    unit = vision.patch_size * vision.spatial_merge_size
    settings = {"patch_size": unit, "merge_size": 1, "min_pixels": least, "max_pixels": most}
    high, wide = resized(sample.shape, settings)
    return int(high // unit) * int(wide // unit)
