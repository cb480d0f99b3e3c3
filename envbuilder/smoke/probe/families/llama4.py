"""Llama 4: up to 16 tiles of 336 px, and one more of the whole image.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
meta-llama/Llama-4-Scout-17B-16E-Instruct.
"""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import WIDTH, language, vision

TILE = 336
PATCH = 14
SHUFFLE = 0.5
"""By how much pixel shuffle shortens either side of a tile's patches."""


class Llama4(FromFiles):
    """The prompt holds ``<|image|>``; what is repeated is ``<|patch|>``."""

    name = "llama4"
    source = "transformers, Llama4Processor and Llama4VisionModel"
    model_class = "Llama4ForConditionalGeneration"
    processor_class = "Llama4Processor"
    kinds = ("image",)
    specials = (
        "<|begin_of_text|>",
        "<|eot|>",
        "<|finetune_right_pad|>",
        "<|image|>",
        "<|image_start|>",
        "<|image_end|>",
        "<|patch|>",
        "<|tile_x_separator|>",
        "<|tile_y_separator|>",
    )
    named_tokens = {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot|>",
        "pad_token": "<|finetune_right_pad|>",
    }
    template = {"image": "<|image|>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "Llama4ImageProcessorFast",
                "processor_class": self.processor_class,
                "size": {"height": TILE, "width": TILE},
                "max_patches": 16,
                "resize_to_max_canvas": False,
                "resample": 2,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "patch_size": PATCH,
                "pixel_shuffle_ratio": SHUFFLE,
                "fake_image_token": "<|image|>",
                "image_token": "<|image|>",
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        pad = ids["<|finetune_right_pad|>"]
        experts = {
            "intermediate_size_mlp": WIDTH,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
        }
        encoder = {
            "intermediate_size": 128,
            "vision_output_dim": 32,
            "projector_input_dim": 32,
            "projector_output_dim": 32,
            "pixel_shuffle_ratio": SHUFFLE,
        }
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_index": ids["<|patch|>"],
            "boi_token_index": ids["<|image_start|>"],
            "eoi_token_index": ids["<|image_end|>"],
            "text_config": language("llama4_text", head_dim=32, pad_token_id=pad, **experts),
            "vision_config": vision("llama4_vision_model", side=TILE, patch=PATCH, **encoder),
            "torch_dtype": "float32",
        }

    def forward(self, model: Any, inputs: Any) -> Any:
        """Return the logits of one pass, without a cache.

        The one that transformers 4.52 makes for a pass is bfloat16 whatever the model is; what
        generates, and serves, makes its own.
        """
        return model(**inputs, use_cache=False).logits


FAMILY = Llama4()
