"""Qwen2-VL: images and videos of any size, as patch grids.

Values: ``preprocessor_config.json`` and ``config.json`` of Qwen/Qwen2-VL-7B-Instruct.
"""

from __future__ import annotations

from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import Sample
from ._qwen_vision import QWEN2_VL_IMAGES, limits, resized, vision_tokens
from ._shrunk import VOCABULARY, WIDTH, language
from .base import Family, Modality

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


class Qwen2VL(Family):
    """Images and video: t·h·w/merge² of the patch grid."""

    name = "qwen2_vl"
    source = "transformers, Qwen2VLProcessor and smart_resize"
    model_class = "Qwen2VLForConditionalGeneration"
    tokenizer_class = "Qwen2Tokenizer"
    processor_class = "Qwen2VLProcessor"
    settings = limits(QWEN2_VL_IMAGES)
    pixels_per_side: int | None = 28
    specials = SPECIALS
    named_tokens = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    modalities = {
        "image": Modality(
            "<|image_pad|>",
            "<|vision_start|><|image_pad|><|vision_end|>",
            "images",
            "get_image_features",
        ),
        "video": Modality(
            "<|video_pad|>",
            "<|vision_start|><|video_pad|><|vision_end|>",
            "videos",
            "get_video_features",
        ),
    }

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **QWEN2_VL_IMAGES,
                "processor_class": self.processor_class,
            }
        }

    def vision(self) -> Facts:
        """Return the encoder's configuration."""
        return {
            "model_type": "qwen2_vl",
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": WIDTH,
            "num_heads": 2,
            "mlp_ratio": 1,
            "in_channels": 3,
            "in_chans": 3,
            "patch_size": 14,
            "spatial_patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json in the released, flat form."""
        rope = {"type": "mrope", "mrope_section": [4, 6, 6]}
        return {
            **language(self.name, rope_scaling=rope, rope_theta=1000000.0, vocab_size=VOCABULARY),
            "architectures": [self.model_class],
            "vision_config": self.vision(),
            "image_token_id": ids["<|image_pad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
            "vision_token_id": ids["<|vision_pad|>"],
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "torch_dtype": "float32",
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return sizes around the patch and the pixel limits."""
        return SAMPLES[modality]

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count by the model's own patch and merge size, within the processor's limits."""
        vision = config.vision_config
        grid = inputs[sample.modality + "_grid_thw"][0].tolist()
        if sample.modality == "video":
            return vision_tokens(grid, vision.spatial_merge_size), grid
        height, width = resized(sample.shape, self.settings)
        return height * width // (vision.patch_size * vision.spatial_merge_size) ** 2, grid


SAMPLES = {
    "image": samples.image(
        ("edge", 28, 28),
        ("small", 280, 280),
        ("edge", 281, 279),
        ("typical", 640, 480),
        ("edge", 1323, 49),
        ("maximum", 3584, 3584),
        ("beyond", 4000, 4000),
    ),
    "video": samples.video(
        ("edge", 1, 320, 240),
        ("small", 2, 56, 56),
        ("edge", 3, 320, 240),
        ("typical", 8, 640, 360),
        ("maximum", 2, 3584, 3584),
    ),
}
FAMILY = Qwen2VL()
