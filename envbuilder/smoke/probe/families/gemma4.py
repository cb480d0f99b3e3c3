"""Gemma 4 (E2B, E4B): images, videos and sound, each in a budget of tokens of its own.

Values: ``processor_config.json`` and ``config.json`` of google/gemma-4-e2b-it.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import FromFiles
from ._shrunk import WIDTH, language

PATCHES: Facts = {
    "image_mean": [0.0, 0.0, 0.0],
    "image_std": [1.0, 1.0, 1.0],
    "patch_size": 16,
    "pooling_kernel_size": 3,
}


class Gemma4(FromFiles):
    """At most 280 tokens for an image, 70 for a video's frame, 25 for a second of sound."""

    name = "gemma4"
    source = "transformers, Gemma4Processor and Gemma4VisionModel"
    model_class = "Gemma4ForConditionalGeneration"
    processor_class = "Gemma4Processor"
    kinds = ("audio", "image", "video")
    specials = (
        "<pad>",
        "<eos>",
        "<bos>",
        "<|image>",
        "<image|>",
        "<|image|>",
        "<|audio>",
        "<audio|>",
        "<|audio|>",
        "<|video|>",
    )
    named_tokens = {
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "image_token": "<|image|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
        "audio_token": "<|audio|>",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
    }
    template = {"image": "<|image|>", "audio": "<|audio|>", "video": "<|video|>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "processor_config.json": {
                "processor_class": self.processor_class,
                "image_seq_length": 280,
                "audio_seq_length": 750,
                "audio_ms_per_token": 40,
                "image_processor": {
                    **PATCHES,
                    "image_processor_type": "Gemma4ImageProcessor",
                    "max_soft_tokens": 280,
                },
                "video_processor": {
                    **PATCHES,
                    "video_processor_type": "Gemma4VideoProcessor",
                    "max_soft_tokens": 70,
                    "num_frames": 32,
                },
                "feature_extractor": {
                    "feature_extractor_type": "Gemma4AudioFeatureExtractor",
                    "feature_size": 128,
                    "sampling_rate": 16000,
                    "frame_length_ms": 20.0,
                    "hop_length_ms": 10.0,
                    "mel_floor": 0.001,
                },
            }
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        named = {
            "image_token_id": "<|image|>",
            "video_token_id": "<|video|>",
            "audio_token_id": "<|audio|>",
            "boi_token_id": "<|image>",
            "eoi_token_id": "<image|>",
            "boa_token_id": "<|audio>",
            "eoa_token_index": "<audio|>",
        }
        size = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32}
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            **{key: ids[token] for key, token in named.items()},
            "text_config": language(
                "gemma4_text",
                head_dim=32,
                global_head_dim=32,
                layer_types=["sliding_attention", "full_attention"],
                vocab_size_per_layer_input=320,
                hidden_size_per_layer_input=16,
                pad_token_id=ids["<pad>"],
            ),
            "vision_config": {
                "model_type": "gemma4_vision",
                **size,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "intermediate_size": 32,
                "patch_size": 16,
                "pooling_kernel_size": 3,
                "default_output_length": 280,  # which vLLM asks for
            },
            "audio_config": {
                "model_type": "gemma4_audio",
                **size,
                "output_proj_dims": WIDTH,
            },
            "torch_dtype": "float32",
        }


FAMILY = Gemma4()
