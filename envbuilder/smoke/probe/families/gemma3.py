"""Gemma 3: every image is scaled to 896 px and pooled to 256 tokens.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
google/gemma-3-4b-it.
"""

from __future__ import annotations

from ..facts import Facts
from ..tokenizer import NEWLINES
from ._from_files import HALF, FromFiles
from ._shrunk import language, vision

SIDE = 896
TOKENS = 256


class Gemma3(FromFiles):
    """The prompt holds ``<start_of_image>``; what is repeated is ``<image_soft_token>``."""

    name = "gemma3"
    source = "transformers, Gemma3Processor and Gemma3MultiModalProjector"
    model_class = "Gemma3ForConditionalGeneration"
    processor_class = "Gemma3Processor"
    kinds = ("image",)
    specials = (
        "<pad>",
        "<eos>",
        "<bos>",
        "<start_of_image>",
        "<end_of_image>",
        "<image_soft_token>",
        *NEWLINES,
    )
    named_tokens = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
    }
    template = {"image": "<start_of_image>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "Gemma3ImageProcessor",
                "processor_class": self.processor_class,
                "size": {"height": SIDE, "width": SIDE},
                "do_pan_and_scan": None,
                "image_seq_length": TOKENS,
                "resample": 2,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "image_seq_length": TOKENS,
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_index": ids["<image_soft_token>"],
            "boi_token_index": ids["<start_of_image>"],
            "eoi_token_index": ids["<end_of_image>"],
            "mm_tokens_per_image": TOKENS,
            "text_config": language("gemma3_text", head_dim=32, pad_token_id=ids["<pad>"]),
            "vision_config": vision("siglip_vision_model", side=SIDE, patch=14),
            "torch_dtype": "float32",
        }


FAMILY = Gemma3()
