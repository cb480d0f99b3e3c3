"""Gemma 3n: every image, and every sound of up to 30 s, has a fixed number of tokens."""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..samples import Sample

SOURCE = "transformers, Gemma3nConfig: vision_ and audio_soft_tokens_per_image"


def tokens(sample: Sample, _stated: Facts, config: Any) -> int | None:
    """Return the soft tokens of any image, or of any sound, which is cut at 30 s."""
    if sample.modality == "audio":
        return int(config.audio_soft_tokens_per_image)
    return int(config.vision_soft_tokens_per_image)
