"""Gemma 3: every image, and every crop of one, is pooled to the same number of tokens."""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..samples import Sample

SOURCE = "transformers, Gemma3MultiModalProjector (an average pool to mm_tokens_per_image)"


def tokens(_sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the soft tokens of any image; None with pan and scan, which adds crops."""
    if stated.get("do_pan_and_scan"):
        return None
    return int(config.mm_tokens_per_image)
