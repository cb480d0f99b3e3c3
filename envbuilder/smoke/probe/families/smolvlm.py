"""SmolVLM2: Idefics3's tiles at 512 px and 64 tokens each; a video is a picture for each frame.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
HuggingFaceTB/SmolVLM2-2.2B-Instruct.
"""

from __future__ import annotations

from ..facts import Facts
from .idefics3 import Idefics3


class SmolVLM(Idefics3):
    """As Idefics3, with videos, whose frames are counted by the image's token."""

    name = "smolvlm"
    source = "transformers, SmolVLMProcessor and SmolVLMConnector"
    model_class = "SmolVLMForConditionalGeneration"
    processor_class = "SmolVLMProcessor"
    images = "SmolVLMImageProcessor"
    encoder = "smolvlm_vision"
    tile = 512
    longest = 2048
    patch = 16
    scale = 4
    kinds = ("image", "video")
    template = {"image": "<image>", "video": "<video>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        files = super().processor_files()
        files["preprocessor_config.json"]["video_sampling"] = {
            "fps": 1,
            "max_frames": 64,
            "video_size": {"longest_edge": self.tile},
        }
        return files


FAMILY = SmolVLM()
