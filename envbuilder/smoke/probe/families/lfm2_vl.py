"""LFM2-VL: an image in its own size up to 256 tokens; larger ones in tiles of 512 px.

Values: ``preprocessor_config.json`` and ``config.json`` of LiquidAI/LFM2-VL-1.6B.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import language

TILE, PATCH, SHUFFLE = 512, 16, 2
TILES = tuple(f"<|img_row_{row}_col_{column}|>" for row in range(1, 11) for column in range(1, 11))


class Lfm2Vl(FromFiles):
    """Beside several tiles stands the whole image, in as many tokens as it would have alone."""

    name = "lfm2_vl"
    source = "transformers, Lfm2VlProcessor and Lfm2VlModel.get_image_features"
    model_class = "Lfm2VlForConditionalGeneration"
    processor_class = "Lfm2VlProcessor"
    kinds = ("image",)
    specials = (
        "<|pad|>",
        "<|startoftext|>",
        "<|im_end|>",
        "<image>",
        "<|image_start|>",
        "<|image_end|>",
        "<|img_thumbnail|>",
    )
    named_tokens = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
        "image_token": "<image>",
        "image_start_token": "<|image_start|>",
        "image_end_token": "<|image_end|>",
        "image_thumbnail": "<|img_thumbnail|>",
    }
    template = {"image": "<image>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "Lfm2VlImageProcessorFast",
                "processor_class": self.processor_class,
                "downsample_factor": SHUFFLE,
                "do_image_splitting": True,
                "min_tiles": 2,
                "max_tiles": 10,
                "use_thumbnail": True,
                "min_image_tokens": 64,
                "max_image_tokens": 256,
                "encoder_patch_size": PATCH,
                "tile_size": TILE,
                "max_pixels_tolerance": 2.0,
                "do_pad": True,
                "resample": 2,
            }
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids["<image>"],
            "downsample_factor": SHUFFLE,
            "projector_hidden_size": 32,
            "text_config": language(
                "lfm2",
                layer_types=["conv", "full_attention"],
                conv_L_cache=3,
                block_ff_dim=32,
                block_multiple_of=16,
                pad_token_id=ids["<|pad|>"],
            ),
            "vision_config": {
                "model_type": "siglip2_vision_model",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_patches": 256,
                "patch_size": PATCH,
                "vision_use_head": False,
            },
            "torch_dtype": "float32",
        }


FAMILY = Lfm2Vl()
