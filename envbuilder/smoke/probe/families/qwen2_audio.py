"""Qwen2-Audio: sound up to 30 s, at 25 tokens a second.

Values: ``preprocessor_config.json`` and ``config.json`` of Qwen/Qwen2-Audio-7B-Instruct.
"""

from __future__ import annotations

from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import Sample
from ._encoders import feature_method
from ._shrunk import language
from ._whisper import audio_tokens, extractor, mel_frames
from .base import Family, Modality

WINDOW = 30
"""Seconds after which the extractor truncates a sound (``chunk_length``)."""


class Qwen2Audio(Family):
    """A quarter of the mel frames: a convolution of stride 2, then pairs pooled."""

    name = "qwen2_audio"
    source = "transformers, Qwen2AudioEncoder._get_feat_extract_output_lengths"
    model_class = "Qwen2AudioForConditionalGeneration"
    tokenizer_class = "Qwen2Tokenizer"
    processor_class = "Qwen2AudioProcessor"
    specials = ("<|endoftext|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
    named_tokens = {
        "audio_token": "<|AUDIO|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    modalities = {
        "audio": Modality(
            "<|AUDIO|>",
            "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n",
            ("audio", "audios"),
            "get_audio_features",
        )
    }

    settings = {"chunk_length": WINDOW}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        settings = extractor(seconds=WINDOW, bins=128)
        return {"preprocessor_config.json": {**settings, "processor_class": self.processor_class}}

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "audio_token_index": ids["<|AUDIO|>"],
            "audio_token_id": ids["<|AUDIO|>"],
            "audio_config": {
                "model_type": "qwen2_audio_encoder",
                "num_mel_bins": 128,
                "max_source_positions": 1500,
                "d_model": 32,
                "encoder_layers": 1,
                "encoder_attention_heads": 2,
                "encoder_ffn_dim": 32,
            },
            "text_config": language("qwen2", pad_token_id=ids["<|endoftext|>"]),
            "pad_token_id": ids["<|endoftext|>"],
            "torch_dtype": "float32",
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return lengths around the off-by-one and the window."""
        return SAMPLES[modality]

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count by mel frames."""
        window = self.settings["chunk_length"] * samples.RATE
        return audio_tokens(mel_frames(sample, inputs["feature_attention_mask"], window)), None

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Count the rows that the encoder makes within the length it states for each sound."""
        if feature_method(model, self.modalities[modality].features):
            return super().features(model, modality, inputs)
        body = model if hasattr(model, "audio_tower") else model.model
        tower, mask = body.audio_tower, inputs["feature_attention_mask"]
        _, lengths = tower._get_feat_extract_output_lengths(mask.sum(-1))
        encoded = tower(inputs["input_features"]).last_hidden_state
        projected = body.multi_modal_projector(encoded)
        return sum(min(int(length), projected.shape[1]) for length in lengths)


SAMPLES = {
    "audio": samples.audio(
        ("edge", 0.025),
        ("small", 1),
        ("edge", 2.74),
        ("typical", 3.7),
        ("edge", 10.02),
        ("maximum", 30),
        ("beyond", 31),
    )
}
FAMILY = Qwen2Audio()
