"""LLaVA 1.5: one image size, one token count.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
llava-hf/llava-1.5-7b-hf.
"""

from __future__ import annotations

from typing import Any, Sequence

from .. import samples
from ..facts import Facts
from ..samples import Sample
from ._shrunk import language, vision
from .base import Family, Modality

CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "do_center_crop": True,
    "crop_size": {"height": 336, "width": 336},
    "size": {"shortest_edge": 336},
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
}


class Llava(Family):
    """Every image becomes the patches of 336 by 336 px: 24 by 24, without the class token."""

    name = "llava"
    source = "transformers, LlavaProcessor and CLIPVisionModel"
    model_class = "LlavaForConditionalGeneration"
    tokenizer_class = "PreTrainedTokenizerFast"
    processor_class = "LlavaProcessor"
    images: Facts = {**CLIP, "image_processor_type": "CLIPImageProcessor"}
    specials: Sequence[str] = ("<s>", "</s>", "<pad>", "<image>")
    named_tokens = {
        "image_token": "<image>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }
    modalities = {
        "image": Modality("<image>", "<image>\n", "images", "get_image_features"),
    }

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {**self.images, "processor_class": self.processor_class},
            "processor_config.json": {
                "processor_class": self.processor_class,
                "image_token": "<image>",
                "num_additional_image_tokens": 1,
                "patch_size": 14,
                "vision_feature_select_strategy": "default",
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_index": ids["<image>"],
            "image_token_id": ids["<image>"],
            "image_seq_length": 576,
            "pad_token_id": ids["<pad>"],
            "projector_hidden_act": "gelu",
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
            "text_config": language("llama", pad_token_id=ids["<pad>"]),
            "vision_config": vision("clip_vision_model", side=336, patch=14, projection_dim=32),
            "torch_dtype": "float32",
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return sizes and aspect ratios that must not matter."""
        return SAMPLES

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count the patches of the encoder's own image size."""
        side = config.vision_config.image_size // config.vision_config.patch_size
        return side * side, [1, side, side]


SAMPLES = samples.image(
    ("edge", 28, 28),
    ("small", 336, 336),
    ("edge", 337, 335),
    ("edge", 1323, 49),
    ("typical", 640, 480),
    ("maximum", 2000, 2000),
    ("beyond", 4000, 3000),
)
FAMILY = Llava()
