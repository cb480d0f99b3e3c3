"""Whisper: every sound fills one window of 30 s, which the decoder looks at as 1500 positions.

Values: ``preprocessor_config.json`` and ``config.json`` of openai/whisper-large-v3.
"""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ._shrunk import VOCABULARY
from ._speech_to_text import SpeechToText
from ._whisper import extractor
from .base import Family

BINS, POSITIONS = 128, 1500


class Whisper(SpeechToText):
    """An encoder and a decoder, which counts positions."""

    name = "whisper"
    model_class = "WhisperForConditionalGeneration"
    tokenizer_class = "WhisperTokenizer"
    processor_class = "WhisperProcessor"
    specials = ("<|endoftext|>", "<|startoftranscript|>")
    named_tokens = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}

    def bound(self, processor: Any, directory: str) -> Family:
        """Return the family with the positions that ``config.json`` reserves."""
        return self.heard(self.load_config(directory))

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        settings = {**extractor(seconds=30, bins=BINS), "processor_class": self.processor_class}
        return {"preprocessor_config.json": settings}

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        end = ids["<|endoftext|>"]
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "vocab_size": VOCABULARY,
            "num_mel_bins": BINS,
            "max_source_positions": POSITIONS,
            "max_target_positions": 448,
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "pad_token_id": end,
            "bos_token_id": end,
            "eos_token_id": end,
            "decoder_start_token_id": ids["<|startoftranscript|>"],
            "torch_dtype": "float32",
        }


FAMILY = Whisper()
