"""Pixtral and Mistral 3: whole patches of the image as it is, or scaled down to its longest edge.

A side that is left over is a patch of its own. Mistral 3 merges patches by twos, and its projector
rounds nothing: the processor must scale to whole pairs.
"""

from __future__ import annotations

import math
from typing import Any

from ..edges import number
from ..facts import Facts
from ..samples import Sample

SOURCE = "mistral-common, ImageEncoder._image_to_num_tokens; transformers rounds the scaling down"


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the image tokens of ``sample``; the breaks between its rows are tokens of their own.

    Patch and merge are the model's own: a processor that merges otherwise is what is looked for.
    """
    longest = (stated.get("size") or {}).get("longest_edge")
    patch = number(config.vision_config.patch_size)
    if not longest or not patch:
        return None
    unit = patch * (getattr(config, "spatial_merge_size", None) or 1)
    height, width = sample.shape
    ratio = max(height, width) / longest
    if ratio > 1:
        height, width = math.floor(height / ratio), math.floor(width / ratio)
    return math.ceil(height / unit) * math.ceil(width / unit)
