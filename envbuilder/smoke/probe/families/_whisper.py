"""What the families with a Whisper-like encoder share: mel frames and how they become tokens."""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..samples import RATE, Sample

HOP = 160
"""Sound samples per mel frame: 100 frames a second at 16 kHz."""


def extractor(*, seconds: int, bins: int) -> Facts:
    """Return a WhisperFeatureExtractor's settings for a window of ``seconds``."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "chunk_length": seconds,
        "dither": 0.0,
        "feature_size": bins,
        "hop_length": HOP,
        "n_fft": 400,
        "n_samples": seconds * RATE,
        "nb_max_frames": seconds * RATE // HOP,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": RATE,
    }


def mel_frames(sample: Sample, mask: Any, window: int) -> int:
    """Return the mel frames of a sound: one per hop up to ``window`` (samples).

    Between two hops the processor's own ``mask`` decides: versions round a started hop differently.
    """
    (length,) = sample.shape
    return min(length, window) // HOP if length % HOP == 0 else int(mask.sum())


def audio_tokens(frames: int) -> int:
    """Return the tokens of ``frames`` mel frames: a stride-2 convolution, then pairs pooled."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1
