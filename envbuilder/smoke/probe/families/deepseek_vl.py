"""DeepSeek-VL: every image is scaled into a square of 384 px, whose 576 patches are its tokens.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
deepseek-community/deepseek-vl-1.3b-chat.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import language, vision

SIDE, PATCH = 384, 16
BAR, BLANK = "\uff5c", "\u2581"  # as DeepSeek writes its marks
PLACEHOLDER = "<image_placeholder>"
BEGIN, END = (f"<{BAR}{what}{BLANK}of{BLANK}sentence{BAR}>" for what in ("begin", "end"))


class DeepseekVL(FromFiles):
    """One token for each patch, whatever the image's shape: it is padded to a square."""

    name = "deepseek_vl"
    source = "transformers, DeepseekVLProcessor and DeepseekVLAligner"
    model_class = "DeepseekVLForConditionalGeneration"
    processor_class = "DeepseekVLProcessor"
    kinds = ("image",)
    specials = (BEGIN, END, PLACEHOLDER)
    named_tokens = {
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": END,
        "image_token": PLACEHOLDER,
    }
    template = {"image": PLACEHOLDER}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "DeepseekVLImageProcessor",
                "processor_class": self.processor_class,
                "size": {"height": SIDE, "width": SIDE},
                "min_size": 14,
                "do_pad": True,
                "resample": 3,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "num_image_tokens": (SIDE // PATCH) ** 2,
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids[PLACEHOLDER],
            "text_config": language("llama", pad_token_id=ids[END]),
            "vision_config": vision(
                "siglip_vision_model", side=SIDE, patch=PATCH, vision_use_head=False
            ),
            "torch_dtype": "float32",
        }


FAMILY = DeepseekVL()
