"""Mistral Small 3.1 and 3.2: images of any shape up to 1540 px, their patches merged by twos.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
mistralai/Mistral-Small-3.1-24B-Instruct-2503.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import CLIP, FromFiles
from ._shrunk import language, vision

LONGEST = 1540
PATCH = 14
MERGE = 2


class Mistral3(FromFiles):
    """``[IMG]`` for each pair of patches; breaks between rows are tokens of their own."""

    name = "mistral3"
    source = "mistral-common, ImageEncoder; transformers, PixtralProcessor"
    model_class = "Mistral3ForConditionalGeneration"
    processor_class = "PixtralProcessor"
    kinds = ("image",)
    specials = (
        "<s>",
        "</s>",
        "<pad>",
        "[IMG]",
        "[IMG_BREAK]",
        "[IMG_END]",
        "[INST]",
        "[/INST]",
    )
    named_tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    template = {"image": "[IMG]"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **CLIP,
                "image_processor_type": "PixtralImageProcessor",
                "processor_class": self.processor_class,
                "size": {"longest_edge": LONGEST},
                "patch_size": PATCH,
                "do_convert_rgb": True,
                "resample": 3,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "patch_size": PATCH,
                "spatial_merge_size": MERGE,
                "image_token": "[IMG]",
                "image_break_token": "[IMG_BREAK]",
                "image_end_token": "[IMG_END]",
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        encoder = {"head_dim": 16, "hidden_act": "silu"}
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_index": ids["[IMG]"],
            "spatial_merge_size": MERGE,
            "vision_feature_layer": -1,
            "multimodal_projector_bias": False,
            "projector_hidden_act": "gelu",
            "text_config": language("mistral", head_dim=32, pad_token_id=ids["<pad>"]),
            "vision_config": vision("pixtral", side=LONGEST, patch=PATCH, **encoder),
            "torch_dtype": "float32",
        }


FAMILY = Mistral3()
