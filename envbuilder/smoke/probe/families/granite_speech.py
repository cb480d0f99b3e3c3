"""Granite Speech: ten tokens for each second of sound, in windows of 15 stacked mel frames.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
ibm-granite/granite-speech-3.3-8b.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import FromFiles
from ._shrunk import language

WINDOW, RATE = 15, 5


class GraniteSpeech(FromFiles):
    """Each window becomes three queries."""

    name = "granite_speech"
    source = "transformers, GraniteSpeechEncoderProjector"
    model_class = "GraniteSpeechForConditionalGeneration"
    processor_class = "GraniteSpeechProcessor"
    kinds = ("audio",)
    specials = ("<|end_of_text|>", "<|pad|>", "<|audio|>", "<|start_of_role|>", "<|end_of_role|>")
    named_tokens = {
        "eos_token": "<|end_of_text|>",
        "bos_token": "<|end_of_text|>",
        "pad_token": "<|pad|>",
        "audio_token": "<|audio|>",
    }
    template = {"audio": "<|audio|>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                "feature_extractor_type": "GraniteSpeechFeatureExtractor",
                "processor_class": self.processor_class,
                "projector_downsample_rate": RATE,
                "projector_window_size": WINDOW,
                "sampling_rate": 16000,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "audio_token": "<|audio|>",
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "audio_token_index": ids["<|audio|>"],
            "has_lora_adapter": False,
            "window_size": WINDOW,
            "downsample_rate": RATE,
            "text_config": language("granite", pad_token_id=ids["<|pad|>"]),
            "encoder_config": {
                "model_type": "granite_speech_encoder",
                "input_dim": 160,
                "num_layers": 2,
                "hidden_dim": 32,
                "num_heads": 2,
                "dim_head": 16,
                "output_dim": 32,
                "feedforward_mult": 2,
                "context_size": 200,
                "max_pos_emb": 512,
                "conv_kernel_size": 15,
            },
            "projector_config": {
                "model_type": "blip_2_qformer",
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 32,
                "encoder_hidden_size": 32,
                "cross_attention_frequency": 1,
            },
            "torch_dtype": "float32",
        }


FAMILY = GraniteSpeech()
