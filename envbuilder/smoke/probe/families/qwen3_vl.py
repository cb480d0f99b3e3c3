"""Qwen3-VL: patches of 16 px, and videos as frames that each carry a time stamp.

Values: ``preprocessor_config.json``, ``video_preprocessor_config.json`` and ``config.json`` of
Qwen/Qwen3-VL-8B-Instruct.
"""

from __future__ import annotations

from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import Sample
from ._encoders import rows
from ._qwen_vision import limits
from ._shrunk import WIDTH, language
from .qwen2_vl import Qwen2VL

LEAST, MOST = 65536, 16777216
PATCHES = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "patch_size": 16,
    "merge_size": 2,
    "temporal_patch_size": 2,
}


class Qwen3VL(Qwen2VL):
    """Images and video: t·h·w/merge² of the patch grid; time stamps are text."""

    name = "qwen3_vl"
    source = "transformers, Qwen3VLProcessor and smart_resize"
    model_class = "Qwen3VLForConditionalGeneration"
    processor_class = "Qwen3VLProcessor"
    whole = {"do_sample_frames": False}
    pixels_per_side = None  # max_pixels is not an argument of its processor; size is
    settings = limits({**PATCHES, "min_pixels": LEAST, "max_pixels": MOST})

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **PATCHES,
                "size": {"shortest_edge": LEAST, "longest_edge": MOST},
                "image_processor_type": "Qwen2VLImageProcessorFast",
                "processor_class": self.processor_class,
            },
            "video_preprocessor_config.json": {
                **PATCHES,
                "size": {"shortest_edge": 4096, "longest_edge": 25165824},
                "video_processor_type": "Qwen3VLVideoProcessor",
                "processor_class": self.processor_class,
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids["<|image_pad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
            "text_config": language(f"{self.name}_text", **self.decoder()),
            "vision_config": self.vision(),
            "torch_dtype": "float32",
        }

    def decoder(self) -> Facts:
        """Return what the decoder has beside what all have."""
        rope = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [6, 5, 5]}
        return {"head_dim": WIDTH // 2, "rope_scaling": rope, "rope_theta": 5000000.0}

    def vision(self) -> Facts:
        """Return the encoder's configuration."""
        return {
            "model_type": "qwen3_vl",
            "depth": 2,
            "deepstack_visual_indexes": [0, 1],
            "hidden_size": 32,
            "intermediate_size": 32,
            "out_hidden_size": WIDTH,
            "num_heads": 2,
            "num_position_embeddings": 2304,
            "in_channels": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return sizes around the patch and the limits; a video has at least four frames."""
        return SAMPLES[modality]

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Count the rows of the last layer; 4.57 returns those of the deepstack beside them."""
        encoded = self.encoded(model, self.modalities[modality].features, inputs)
        return rows(encoded[0] if type(encoded) is tuple else encoded)


SAMPLES = {
    "image": samples.image(
        ("edge", 28, 28),
        ("small", 320, 320),
        ("edge", 321, 319),
        ("edge", 1323, 49),
        ("typical", 640, 480),
        ("maximum", 4096, 4096),
        ("beyond", 4200, 4200),
    ),
    "video": samples.video(
        ("small", 4, 64, 64),
        ("edge", 5, 320, 240),
        ("typical", 8, 640, 360),
        ("maximum", 4, 2048, 2048),
    ),
}
FAMILY = Qwen3VL()
