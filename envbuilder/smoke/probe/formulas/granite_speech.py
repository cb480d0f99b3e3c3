"""Granite Speech: mel frames stacked by twos, in whole windows, each pooled to a few queries."""

from __future__ import annotations

import math
from typing import Any

from ..facts import Facts
from ..samples import Sample

SOURCE = "transformers, GraniteSpeechEncoderProjector: window_size // downsample_rate queries each"
HOP = 160
"""Sound samples per mel frame, unless the files say otherwise; one frame more than whole hops."""


def tokens(sample: Sample, stated: Facts, config: Any) -> int | None:
    """Return the audio tokens of ``sample``."""
    (length,) = sample.shape
    hop = (stated.get("melspec_kwargs") or {}).get("hop_length", HOP)
    stacked = (length // hop + 1) // 2
    queries = config.window_size // config.downsample_rate
    return int(math.ceil(stacked / config.window_size) * queries)
