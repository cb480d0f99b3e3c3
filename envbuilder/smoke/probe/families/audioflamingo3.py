"""Audio Flamingo 3: sound up to 10 minutes, in windows of 30 s, at 25 tokens a second.

Values: ``processor_config.json`` and ``config.json`` of nvidia/audio-flamingo-3-hf.
"""

from __future__ import annotations

from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import RATE, Sample
from ._shrunk import language
from ._whisper import HOP, audio_tokens, extractor, mel_frames
from .base import Family, Modality

WINDOW = 30
"""Seconds in one window (``chunk_length``)."""
LONGEST = 600 * RATE
"""Sound samples that the processor keeps, 20 windows; it cuts off the rest."""


class AudioFlamingo3(Family):
    """Each window alone becomes a quarter of its mel frames: a stride-2 convolution, then pairs."""

    name = "audioflamingo3"
    source = "transformers, AudioFlamingo3Encoder._get_feat_extract_output_lengths, per window"
    model_class = "AudioFlamingo3ForConditionalGeneration"
    tokenizer_class = "Qwen2Tokenizer"
    processor_class = "AudioFlamingo3Processor"
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<sound>")
    named_tokens = {
        "audio_token": "<sound>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    modalities = {"audio": Modality("<sound>", "<sound>", "audio", "get_audio_features")}
    encoder_limit = 15000  # attention stays within a window, so even the longest sound is cheap
    settings = {"chunk_length": WINDOW}
    several = False  # the processor takes one sound for each text

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        settings: Facts = {
            "processor_class": self.processor_class,
            "audio_token": "<sound>",
            "feature_extractor": extractor(seconds=WINDOW, bins=128),
        }
        return {"processor_config.json": settings}

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "audio_token_id": ids["<sound>"],
            "audio_config": {
                "model_type": "audioflamingo3_encoder",
                "num_mel_bins": 128,
                "max_source_positions": 1500,
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 32,
            },
            "text_config": language("qwen2", pad_token_id=ids["<|endoftext|>"]),
            "projector_hidden_act": "gelu",
            "projector_bias": True,
            "pad_token_id": ids["<|endoftext|>"],
            "torch_dtype": "float32",
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return lengths around the off-by-one, the window and the cap."""
        return SAMPLES[modality]

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count by mel frames, window by window."""
        window = self.settings["chunk_length"] * RATE // HOP
        full, rest = divmod(mel_frames(sample, inputs["input_features_mask"], LONGEST), window)
        return full * audio_tokens(window) + audio_tokens(rest), None


SAMPLES = {
    "audio": samples.audio(
        ("edge", 0.025),
        ("small", 1),
        ("edge", 2.74),
        ("typical", 3.7),
        ("edge", 10.02),
        ("edge", 30),
        ("edge", 30.01),
        ("edge", 32.74),
        ("typical", 75),
        ("maximum", 600),
        ("beyond", 601),
    )
}
FAMILY = AudioFlamingo3()
