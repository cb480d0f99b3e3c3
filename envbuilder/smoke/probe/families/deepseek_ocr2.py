"""DeepSeek-OCR 2: a view of the whole page in 256 tokens, tiles of 144 each, and one that ends it.

Values: ``processor_config.json`` and ``config.json`` of deepseek-community/DeepSeek-OCR-2.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import language
from .deepseek_vl import BEGIN, END

SIDE, TILE, PATCH = 1024, 768, 16
LEAST, MOST = 2, 6


class DeepseekOcr2(FromFiles):
    """Pages up to a tile's side have no tiles, larger ones at least two."""

    name = "deepseek_ocr2"
    source = "transformers, DeepseekOcr2Processor and DeepseekOcr2Model.get_image_features"
    model_class = "DeepseekOcr2ForConditionalGeneration"
    processor_class = "DeepseekOcr2Processor"
    kinds = ("image",)
    specials = (BEGIN, END, "<image>")
    named_tokens = {
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": END,
        "image_token": "<image>",
    }
    template = {"image": "<image>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "processor_config.json": {
                "processor_class": self.processor_class,
                "patch_size": PATCH,
                "downsample_ratio": 4,
                "image_processor": {
                    **HALF,
                    "image_processor_type": "DeepseekOcr2ImageProcessor",
                    "size": {"height": SIDE, "width": SIDE},
                    "tile_size": TILE,
                    "crop_to_patches": True,
                    "min_patches": LEAST,
                    "max_patches": MOST,
                    "background_color": [127, 127, 127],
                },
            }
        }

    def vision(self) -> Facts:
        """Return the two encoders: SAM's over patches, and queries that read what it saw."""
        return {
            "model_type": "deepseek_ocr2_vision",
            "sam_config": {
                "model_type": "deepseek_ocr2_sam_vision_model",
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "output_channels": 16,
                "downsample_channels": [16, 32],
                "mlp_dim": 32,
                "global_attn_indexes": [1],
                "window_size": 14,
                "image_size": SIDE,
                "patch_size": PATCH,
            },
            "encoder_config": {
                **language("deepseek_ocr2_encoder"),
                "hidden_size": 32,
                "intermediate_size": 32,
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids["<image>"],
            "text_config": language(
                "deepseek_ocr2_text",
                moe_intermediate_size=32,
                n_routed_experts=4,
                n_shared_experts=1,
                num_experts_per_tok=2,
                n_group=1,
                topk_group=1,
                mlp_layer_types=["dense", "sparse"],
                pad_token_id=ids[END],
            ),
            "vision_config": self.vision(),
            "torch_dtype": "float32",
        }


FAMILY = DeepseekOcr2()
