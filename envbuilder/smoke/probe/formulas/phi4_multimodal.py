"""Phi-4-multimodal: the tiles' tokens that hold the image, the lines' ends, and a view of 272.

Sound: mel frames without padding, each eight of them, or a rest of them, one token.
"""

from __future__ import annotations

import math
from typing import Any

from ..edges import number
from ..facts import Facts
from ..families.internvl import layout
from ..samples import Sample

SOURCE = "microsoft/Phi-4-multimodal-instruct, processing_phi4mm.py: dynamic_preprocess, and audio"
WINDOW, HOP = 400, 160
"""Sound samples of a mel frame, and from one to the next."""
HALVED = 2
"""Patches of a side that are pooled into one token."""


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the tokens of ``sample``."""
    if sample.modality == "audio":
        frames = (sample.shape[0] - WINDOW) // HOP + 1
        return int(-(-frames // config.audio_config.time_reduction))
    most, patch = number(stated.get("dynamic_hd")), config.vision_config.patch_size
    if not most:
        return None
    side = config.vision_config.crop_size
    lines, columns = used(*sample.shape, side=side, patch=patch, most=most)
    whole = side // patch // HALVED
    return int(lines * (columns + 1) + 1 + whole * (whole + 1))


def used(height: int, width: int, *, side: int, patch: int, most: int) -> tuple[int, int]:
    """Return the (lines, columns) of tokens that the image fills on its canvas of tiles.

    It is scaled to fit; whole patches of what is left over are padding, and every second patch of a
    line or column that is none is a token.
    """
    rows, columns = math.ceil(height / side), math.ceil(width / side)
    if rows * columns > most:
        rows, columns = layout(height, width, side=side, most=most)
    scale = min(rows * side / height, columns * side / width)
    filled = []
    for length, canvas in ((height, rows * side), (width, columns * side)):
        tight = scale == canvas / length
        padding = 0 if tight else canvas - int(length * scale)
        patches = canvas // patch - padding // patch
        filled.append(math.ceil(patches / HALVED))
    return filled[0], filled[1]
