"""InternVL 3: tiles of 448 px, 256 tokens each, a thumbnail beside several tiles; frames as tiles.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
OpenGVLab/InternVL3-8B-hf.
"""

from __future__ import annotations

from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import Sample
from ._shrunk import language, vision
from .base import Family, Modality

SIDE = 448
MOST_TILES = 12
PER_TILE = 256
PIXELS = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
}


class InternVL(Family):
    """256 tokens for each tile of the layout nearest in aspect ratio, 256 for the thumbnail.

    A video is 256 tokens a frame, of the same kind: the model cannot tell them from an image's.
    """

    name = "internvl"
    source = "transformers, InternVLProcessor and GotOcr2's get_optimal_tiled_canvas"
    model_class = "InternVLForConditionalGeneration"
    tokenizer_class = "Qwen2Tokenizer"
    processor_class = "InternVLProcessor"
    specials = (
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<img>",
        "</img>",
        "<IMG_CONTEXT>",
        "<video>",
    )
    named_tokens = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    modalities = {
        "image": Modality("<IMG_CONTEXT>", "<IMG_CONTEXT>\n", "images", "get_image_features"),
        "video": Modality("<IMG_CONTEXT>", "<video>\n", "videos", "get_image_features"),
    }

    settings = {"max_patches": MOST_TILES}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **PIXELS,
                "crop_to_patches": True,
                "min_patches": 1,
                "max_patches": MOST_TILES,
                "image_processor_type": "GotOcr2ImageProcessorFast",
                "processor_class": self.processor_class,
            },
            "video_preprocessor_config.json": {
                **PIXELS,
                "video_processor_type": "InternVLVideoProcessor",
                "processor_class": self.processor_class,
            },
            "processor_config.json": {
                "image_seq_length": PER_TILE,
                "processor_class": self.processor_class,
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        tower = vision("internvl_vision", side=SIDE, patch=14)
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids["<IMG_CONTEXT>"],
            "image_seq_length": PER_TILE,
            "downsample_ratio": 0.5,
            "projector_hidden_act": "gelu",
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default",
            "text_config": language("qwen2", pad_token_id=ids["<|endoftext|>"]),
            "vision_config": {**tower, "image_size": [SIDE, SIDE], "patch_size": [14, 14]},
            "torch_dtype": "float32",
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return aspect ratios around the choice of tiles; odd and single frames."""
        return SAMPLES[modality]

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count the tiles of the best layout, plus the thumbnail of several; or the frames."""
        if sample.modality == "video":
            return config.image_seq_length * sample.shape[0], [sample.shape[0], 1, 1]
        side = config.vision_config.image_size[0]
        high, wide = layout(*sample.shape, side=side, most=self.settings["max_patches"])
        tiles = high * wide
        return config.image_seq_length * (tiles + (tiles > 1)), [1, high, wide]


def layout(
    height: int, width: int, *, side: int = SIDE, least: int = 1, most: int = MOST_TILES
) -> tuple[int, int]:
    """Return the (rows, columns), ``least`` to ``most`` tiles, nearest to the image in its ratio.

    Of equally near layouts the first by area wins, but a later one that is no larger than twice
    the image. Source: ``get_optimal_tiled_canvas`` of transformers' GotOcr2 image processor.
    """
    sizes = range(1, most + 1)
    known = [(wide, high) for wide in sizes for high in sizes if least <= wide * high <= most]
    best, nearest = (1, 1), float("inf")
    for wide, high in sorted(known, key=lambda size: size[0] * size[1]):
        distance = abs(width / height - wide / high)
        roomy = width * height > 0.5 * side * side * wide * high
        if distance < nearest or (distance == nearest and roomy):
            best, nearest = (high, wide), distance
    return best


SAMPLES = {
    "image": samples.image(
        ("edge", 28, 28),
        ("small", 448, 448),
        ("edge", 447, 449),
        ("edge", 1323, 49),
        ("typical", 640, 480),
        ("edge", 900, 448),
        ("maximum", 1792, 1344),
        ("beyond", 4000, 4000),
    ),
    "video": samples.video(
        ("edge", 1, 320, 240),
        ("small", 2, 448, 448),
        ("edge", 3, 449, 447),
        ("typical", 5, 640, 360),
        ("maximum", 32, 448, 448),
    ),
}
FAMILY = InternVL()
