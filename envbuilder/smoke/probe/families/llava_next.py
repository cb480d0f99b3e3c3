"""LLaVA-NeXT (1.6): the whole image at 336 px, and tiles of the same size besides.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
llava-hf/llava-v1.6-mistral-7b-hf.
"""

from __future__ import annotations

from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import Sample
from ._anyres import best_resolution, unpadded
from ._encoders import rows
from .llava import CLIP, Llava

TILES = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


class LlavaNext(Llava):
    """The overview's patches, the unpadded patches of the tiles, and a newline for each row."""

    name = "llava_next"
    source = "transformers, LlavaNextProcessor and LlavaNextForConditionalGeneration"
    model_class = "LlavaNextForConditionalGeneration"
    processor_class = "LlavaNextProcessor"
    images: Facts = {
        **CLIP,
        "image_processor_type": "LlavaNextImageProcessor",
        "image_grid_pinpoints": TILES,
        "do_pad": True,
    }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            **super().config(ids),
            "image_grid_pinpoints": TILES,
            "use_image_newline_parameter": True,
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return aspect ratios around the choice of tiles."""
        return SAMPLES

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count overview, unpadded tiles and newlines."""
        height, width = sample.shape
        side = config.vision_config.image_size // config.vision_config.patch_size
        high, wide = best_resolution(height, width, config.image_grid_pinpoints)
        patch = config.vision_config.patch_size
        lines, columns = unpadded(height, width, high // patch, wide // patch)
        return side * side + lines * (columns + 1), [1, lines, columns]

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Count the rows after the tiles were put together, which versions do in two places."""
        encoded = self.encoded(model, self.modalities[modality].features, inputs)
        encoded = getattr(encoded, "pooler_output", encoded)
        if encoded[0].ndim == 2:  # from 4.54 on: already packed
            return rows(encoded)
        body = model if hasattr(model, "pack_image_features") else model.model
        packed, _ = body.pack_image_features(
            list(encoded),
            inputs["image_sizes"],
            image_newline=body.image_newline,
            **self.packing(model),
        )
        return rows(packed)

    def packing(self, model: Any) -> Facts:
        """Return what else packing the tiles takes."""
        return {"vision_feature_select_strategy": model.config.vision_feature_select_strategy}


SAMPLES = samples.image(
    ("small", 336, 336),
    ("edge", 161, 184),
    ("edge", 337, 335),
    ("edge", 1323, 49),
    ("typical", 640, 480),
    ("maximum", 672, 672),
    ("edge", 2000, 1000),
    ("beyond", 4000, 3000),
)
FAMILY = LlavaNext()
