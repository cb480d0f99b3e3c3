"""DeepSeek-VL: every image becomes the patches of one fixed square."""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..samples import Sample

SOURCE = "deepseek-ai/DeepSeek-VL, MlpProjector: one token for each patch of its SigLIP encoder"


def tokens(_sample: Sample, _stated: Facts, config: Any) -> int | None:
    """Return the image tokens of any image."""
    vision = config.vision_config
    return int(vision.image_size // vision.patch_size) ** 2
