"""Ovis2: tiles of 448 px that cover nine tenths of the image, 256 tokens each; the whole one first.

Values: what ``convert_ovis2_weights_to_hf.py`` of transformers writes for AIDC-AI/Ovis2-2B
(thisisiron/Ovis2-2B-hf).
"""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ._encoders import rows
from ._from_files import CLIP, FromFiles
from ._shrunk import VOCABULARY, WIDTH, language

SIDE, PATCH, STRIDE = 448, 14, 2
TOKENS = (SIDE // PATCH // STRIDE) ** 2
MARKS = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")


class Ovis2(FromFiles):
    """The prompt holds ``<image>``; what is repeated is ``<IMG_ATOM>``."""

    name = "ovis2"
    source = "transformers, Ovis2Processor and Ovis2Model.get_image_features"
    model_class = "Ovis2ForConditionalGeneration"
    processor_class = "Ovis2Processor"
    kinds = ("image",)
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<IMG_ATOM>", *MARKS)
    named_tokens = {
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "image_token": "<IMG_ATOM>",
    }
    template = {"image": "<image>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **CLIP,
                "image_processor_type": "Ovis2ImageProcessor",
                "processor_class": self.processor_class,
                "size": {"height": SIDE, "width": SIDE},
                "crop_to_patches": True,
                "min_patches": 1,
                "max_patches": 12,
                "use_covering_area_grid": True,
                "do_convert_rgb": True,
                "resample": 3,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "image_token": "<image>",
                "image_seq_length": TOKENS,
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids["<IMG_ATOM>"],
            "visual_indicator_token_ids": [ids[mark] for mark in MARKS],
            "vocab_size": VOCABULARY,
            "hidden_size": WIDTH,
            "text_config": language("qwen2", pad_token_id=ids["<|endoftext|>"]),
            "vision_config": {
                "model_type": "ovis2_vision",
                "image_size": SIDE,
                "patch_size": PATCH,
                "hidden_stride": STRIDE,
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_visual_indicator_tokens": len(MARKS),
                "vocab_size": 128,
                "tokenize_function": "softmax",
            },
            "torch_dtype": "float32",
        }

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Count an image's rows; transformers 4 returns those of its marks beside them."""
        encoded = self.encoded(model, self.modalities[modality].features, inputs)
        return rows(encoded[0] if type(encoded) is tuple else encoded)


FAMILY = Ovis2()
