"""PaliGemma: every image becomes the patches of one fixed size."""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..samples import Sample

SOURCE = "big_vision, PaliGemma: the patches of its SigLIP encoder, without pooling"


def tokens(_sample: Sample, _stated: Facts, config: Any) -> int | None:
    """Return the image tokens of any image."""
    vision = config.vision_config
    return int(vision.image_size // vision.patch_size) ** 2
