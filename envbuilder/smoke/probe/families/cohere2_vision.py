"""Command A Vision: tiles of 512 px, each becomes 256 tokens, the whole image one more.

Values: ``preprocessor_config.json`` and ``config.json`` of CohereLabs/command-a-vision-07-2025.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import language, vision

SIDE, PATCH, SHUFFLE = 512, 16, 2
IMAGE = "<|IMG_PATCH|>"


class Cohere2Vision(FromFiles):
    """Tiles on the canvas that enlarges the image least; a line break follows each."""

    name = "cohere2_vision"
    source = "transformers, Cohere2VisionProcessor and Cohere2VisionMultiModalProjector"
    model_class = "Cohere2VisionForConditionalGeneration"
    processor_class = "Cohere2VisionProcessor"
    kinds = ("image",)
    specials = (
        "<PAD>",
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
        "<|START_OF_IMG|>",
        "<|END_OF_IMG|>",
        "<|IMG_LINE_BREAK|>",
        IMAGE,
    )
    named_tokens = {
        "bos_token": "<BOS_TOKEN>",
        "eos_token": "<|END_OF_TURN_TOKEN|>",
        "pad_token": "<PAD>",
        "boi_token": "<|START_OF_IMG|>",
        "eoi_token": "<|END_OF_IMG|>",
        "img_line_break_token": "<|IMG_LINE_BREAK|>",
        "image_token": IMAGE,
    }
    template = {"image": IMAGE}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "Cohere2VisionImageProcessorFast",
                "processor_class": self.processor_class,
                "size": {"height": SIDE, "width": SIDE},
                "crop_to_patches": True,
                "min_patches": 1,
                "max_patches": 12,
                "patch_size": PATCH,
                "do_convert_rgb": True,
                "resample": 3,
            }
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids[IMAGE],
            "downsample_factor": SHUFFLE,
            "alignment_intermediate_size": 32,
            "text_config": language("cohere2", head_dim=32, pad_token_id=ids["<PAD>"]),
            "vision_config": vision(
                "siglip_vision_model", side=SIDE, patch=PATCH, vision_use_head=False
            ),
            "torch_dtype": "float32",
        }


FAMILY = Cohere2Vision()
