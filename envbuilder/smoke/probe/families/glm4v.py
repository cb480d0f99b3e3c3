"""GLM-4.1V: images and videos of any size, as patch grids with limits that count the frames.

Values: ``preprocessor_config.json``, ``video_preprocessor_config.json`` and ``config.json`` of
zai-org/GLM-4.1V-9B-Thinking.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import CLIP, FromFiles
from ._shrunk import WIDTH, language

PATCHES: Facts = {**CLIP, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}


class Glm4v(FromFiles):
    """A video is its frames, each with its time, in the image's token."""

    name = "glm4v"
    source = "transformers, Glm4vProcessor and smart_resize of GLM-4V"
    model_class = "Glm4vForConditionalGeneration"
    processor_class = "Glm4vProcessor"
    encoder = "glm4v"
    kinds = ("image", "video")
    specials = (
        "<|endoftext|>",
        "<|user|>",
        "<|begin_of_image|>",
        "<|end_of_image|>",
        "<|begin_of_video|>",
        "<|end_of_video|>",
        "<|image|>",
        "<|video|>",
    )
    named_tokens = {
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "image_token": "<|image|>",
        "video_token": "<|video|>",
    }
    template = {
        "image": "<|begin_of_image|><|image|><|end_of_image|>",
        "video": "<|begin_of_video|><|video|><|end_of_video|>",
    }

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **PATCHES,
                "image_processor_type": "Glm4vImageProcessor",
                "processor_class": self.processor_class,
                "size": {"shortest_edge": 12544, "longest_edge": 9633792},
            },
            "video_preprocessor_config.json": {
                **PATCHES,
                "video_processor_type": "Glm4vVideoProcessor",
                "processor_class": self.processor_class,
                "size": {"shortest_edge": 12544, "longest_edge": 100352000},
            },
        }

    def decoder(self) -> Facts:
        """Return what the decoder has beside what all have."""
        rope = {"rope_type": "default", "mrope_section": [4, 6, 6], "partial_rotary_factor": 1.0}
        return {
            "head_dim": 32,
            "rope_scaling": {**rope, "type": "default"},
            "rope_parameters": {**rope, "rope_theta": 10000.0},
            "partial_rotary_factor": 1.0,
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        named = {
            "image_token_id": "<|image|>",
            "video_token_id": "<|video|>",
            "image_start_token_id": "<|begin_of_image|>",
            "image_end_token_id": "<|end_of_image|>",
            "video_start_token_id": "<|begin_of_video|>",
            "video_end_token_id": "<|end_of_video|>",
        }
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            **{key: ids[token] for key, token in named.items()},
            "text_config": language(
                f"{self.name}_text", pad_token_id=ids["<|endoftext|>"], **self.decoder()
            ),
            "vision_config": {
                "model_type": self.encoder,
                "hidden_size": 32,
                "intermediate_size": 32,
                "depth": 2,
                "num_heads": 2,
                "out_hidden_size": WIDTH,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "image_size": 336,
            },
            "torch_dtype": "float32",
        }


FAMILY = Glm4v()
