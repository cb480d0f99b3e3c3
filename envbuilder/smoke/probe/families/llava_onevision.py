"""LLaVA-OneVision: tiles of 384 px, scaled down above nine, and videos of pooled frames.

Values: ``preprocessor_config.json``, ``video_preprocessor_config.json``, ``processor_config.json``
and ``config.json`` of llava-hf/llava-onevision-qwen2-7b-ov-hf.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import Sample
from ._anyres import best_resolution, unpadded
from ._encoders import rows
from ._shrunk import language, vision
from .base import Modality
from .llava_next import LlavaNext

SIDE = 384
TILES = [[SIDE * high, SIDE * wide] for high in range(1, 7) for wide in range(1, 7)]
MOST_TILES = 9
SIGLIP = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
}


class LlavaOnevision(LlavaNext):
    """As LLaVA-NeXT, scaled down above nine tiles; a video's frames are pooled two by two."""

    name = "llava_onevision"
    source = "transformers, LlavaOnevisionProcessor"
    model_class = "LlavaOnevisionForConditionalGeneration"
    tokenizer_class = "Qwen2Tokenizer"
    processor_class = "LlavaOnevisionProcessor"
    images: Facts = {
        **SIGLIP,
        "image_processor_type": "LlavaOnevisionImageProcessor",
        "image_grid_pinpoints": TILES,
        "do_pad": True,
    }
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
    named_tokens = {
        "image_token": "<image>",
        "video_token": "<video>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    modalities = {
        "image": Modality("<image>", "<image>\n", "images", "get_image_features"),
        "video": Modality("<video>", "<video>\n", "videos", "get_video_features"),
    }

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {**self.images, "processor_class": self.processor_class},
            "video_preprocessor_config.json": {
                **SIGLIP,
                "video_processor_type": "LlavaOnevisionVideoProcessor",
                "processor_class": self.processor_class,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "image_token": "<image>",
                "video_token": "<video>",
                "num_image_tokens": 729,
                "vision_aspect_ratio": f"anyres_max_{MOST_TILES}",
                "vision_feature_select_strategy": "full",
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_index": ids["<image>"],
            "image_token_id": ids["<image>"],
            "video_token_index": ids["<video>"],
            "video_token_id": ids["<video>"],
            "image_grid_pinpoints": TILES,
            "projector_hidden_act": "gelu",
            "use_image_newline_parameter": True,
            "vision_aspect_ratio": f"anyres_max_{MOST_TILES}",
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
            "text_config": language("qwen2", pad_token_id=ids["<|endoftext|>"]),
            "vision_config": vision(
                "siglip_vision_model", side=SIDE, patch=14, vision_use_head=False
            ),
            "torch_dtype": "float32",
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return aspect ratios around rounding and the limit of tiles; odd frame counts."""
        return SAMPLES[modality]

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count overview, tiles and newlines; or frames of 14 by 14 and one newline."""
        side = config.vision_config.image_size // config.vision_config.patch_size
        if sample.modality == "video":
            pooled = math.ceil(side / 2)
            return sample.shape[0] * pooled * pooled + 1, [sample.shape[0], pooled, pooled]
        height, width = sample.shape
        high, wide = best_resolution(height, width, config.image_grid_pinpoints)
        tile = config.vision_config.image_size
        lines, columns = unpadded(height, width, high // tile * side, wide // tile * side)
        most = int(config.vision_aspect_ratio.rpartition("_")[2])
        ratio = math.sqrt(lines * columns / (most * side**2))
        if ratio > 1.1:
            lines, columns = int(lines // ratio), int(columns // ratio)
        return side * side + lines * (columns + 1), [1, lines, columns]

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Count tiles put together, or a video's pooled rows and its newline."""
        if modality == "image":
            return super().features(model, modality, inputs)
        pixels = {**inputs, "pixel_values": inputs["pixel_values_videos"]}
        encoded = rows(self.encoded(model, "get_video_features", pixels))
        # transformers 4 ends a video with its newline in forward, 5 in get_video_features itself
        body = getattr(model, "model", model)
        inside = "image_newline" in inspect.unwrap(body.get_video_features).__code__.co_names
        return encoded if inside else encoded + int(inputs["pixel_values_videos"].shape[0])

    def packing(self, model: Any) -> Facts:
        """Return what else packing the tiles takes."""
        return {"vision_aspect_ratio": model.config.vision_aspect_ratio}


SAMPLES = {
    "image": samples.image(
        ("small", 384, 384),
        ("edge", 383, 385),
        ("edge", 1323, 49),
        ("edge", 161, 184),
        ("typical", 640, 480),
        ("maximum", 2304, 2304),
        ("beyond", 4000, 3000),
    ),
    "video": samples.video(
        ("small", 1, 384, 384),
        ("edge", 3, 320, 240),
        ("typical", 5, 640, 360),
        ("maximum", 32, 384, 384),
    ),
}
FAMILY = LlavaOnevision()
