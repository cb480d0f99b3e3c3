"""Idefics3: an image is cut into tiles of 364 px, each becomes 169 tokens, the whole one more.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
HuggingFaceM4/Idefics3-8B-Llama3.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import language, vision

TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))


class Idefics3(FromFiles):
    """Tiles stand in rows of their own, marked by their row and column."""

    name = "idefics3"
    source = "transformers, Idefics3Processor and Idefics3Connector"
    model_class = "Idefics3ForConditionalGeneration"
    processor_class = "Idefics3Processor"
    images = "Idefics3ImageProcessor"
    encoder = "idefics3_vision"
    tile = 364
    longest = 4 * 364
    patch = 14
    scale = 2
    """How many patches of a tile's side pixel shuffle puts into one token's."""
    kinds: tuple[str, ...] = ("image",)
    specials = (
        "<|im_start|>",
        "<end_of_utterance>",
        "<pad>",
        "<image>",
        "<fake_token_around_image>",
        "<global-img>",
        *TILES,
    )
    named_tokens = {
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "pad_token": "<pad>",
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    template = {"image": "<image>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": self.images,
                "processor_class": self.processor_class,
                "do_image_splitting": True,
                "max_image_size": {"longest_edge": self.tile},
                "size": {"longest_edge": self.longest},
                "do_pad": True,
                "resample": 1,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "image_seq_len": (self.tile // self.patch // self.scale) ** 2,
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids["<image>"],
            "pad_token_id": ids["<pad>"],
            "scale_factor": self.scale,
            "text_config": language("llama", pad_token_id=ids["<pad>"]),
            "vision_config": vision(self.encoder, side=self.tile, patch=self.patch),
            "torch_dtype": "float32",
        }


FAMILY = Idefics3()
