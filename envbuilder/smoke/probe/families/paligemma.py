"""PaliGemma: every image becomes the 256 patches of 224 px; there is no chat template.

Values: ``preprocessor_config.json`` and ``config.json`` of google/paligemma-3b-mix-224.
"""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..samples import Sample
from ..tokenizer import NEWLINES
from ._from_files import HALF, FromFiles
from ._shrunk import WIDTH, language, vision

SIDE = 224
TOKENS = 256


class PaliGemma(FromFiles):
    """The processor puts an image's tokens before the text."""

    name = "paligemma"
    source = "big_vision, PaliGemma; transformers, PaliGemmaProcessor"
    model_class = "PaliGemmaForConditionalGeneration"
    processor_class = "PaliGemmaProcessor"
    kinds = ("image",)
    specials = ("<pad>", "<eos>", "<bos>", "<image>", *NEWLINES)
    named_tokens = {
        "image_token": "<image>",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
    }

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "SiglipImageProcessor",
                "processor_class": self.processor_class,
                "size": {"height": SIDE, "width": SIDE},
                "image_seq_length": TOKENS,
                "resample": 3,
            }
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        decoder = {"head_dim": 32, "num_image_tokens": TOKENS}
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_index": ids["<image>"],
            "projection_dim": WIDTH,
            "text_config": language("gemma", pad_token_id=ids["<pad>"], **decoder),
            "vision_config": vision(
                "siglip_vision_model", side=SIDE, patch=14, projection_dim=WIDTH
            ),
            "torch_dtype": "float32",
        }

    def engine_prompt(self, processor: Any, sample: Sample) -> str:
        """Return the text alone: an engine puts the image before it by itself."""
        return super().prompt([])


FAMILY = PaliGemma()
