"""Aya Vision: an image is cut into tiles of 364 px, each becomes 169 tokens, the whole one more.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
CohereLabs/aya-vision-8b.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import language, vision

TILE = 364
PATCH = 14
SHUFFLE = 2
"""How many patches of a tile's side become one token's."""


class AyaVision(FromFiles):
    """The prompt holds ``<image>``; what is repeated is ``<|IMG_PATCH|>``."""

    name = "aya_vision"
    source = "transformers, AyaVisionProcessor and AyaVisionMultiModalProjector"
    model_class = "AyaVisionForConditionalGeneration"
    processor_class = "AyaVisionProcessor"
    kinds = ("image",)
    specials = (
        "<PAD>",
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
        "<image>",
        "<|START_OF_IMG|>",
        "<|END_OF_IMG|>",
        "<|IMG_PATCH|>",
        "<|IMG_LINE_BREAK|>",
        "TILE",
        "TILE_GLOBAL",
    )
    named_tokens = {
        "bos_token": "<BOS_TOKEN>",
        "eos_token": "<|END_OF_TURN_TOKEN|>",
        "pad_token": "<PAD>",
    }
    template = {"image": "<image>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "GotOcr2ImageProcessor",
                "processor_class": self.processor_class,
                "size": {"height": TILE, "width": TILE},
                "crop_to_patches": True,
                "min_patches": 1,
                "max_patches": 12,
                "do_convert_rgb": True,
                "resample": 3,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "patch_size": PATCH,
                "img_size": TILE,
                "downsample_factor": SHUFFLE,
                "image_token": "<image>",
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_index": ids["<|IMG_PATCH|>"],
            "downsample_factor": SHUFFLE,
            "alignment_intermediate_size": 32,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
            "text_config": language("cohere2", head_dim=32, pad_token_id=ids["<PAD>"]),
            "vision_config": vision(
                "siglip_vision_model", side=TILE, patch=PATCH, vision_use_head=False
            ),
            "torch_dtype": "float32",
        }


FAMILY = AyaVision()
