"""Qwen2.5-VL: Qwen2-VL's grids, with windowed attention in the encoder.

Values: ``preprocessor_config.json`` and ``config.json`` of Qwen/Qwen2.5-VL-7B-Instruct.
"""

from __future__ import annotations

from ..facts import Facts
from ._shrunk import WIDTH
from .qwen2_vl import Qwen2VL


class Qwen25VL(Qwen2VL):
    """Images and video: t·h·w/merge² of the patch grid."""

    name = "qwen2_5_vl"
    source = "transformers, Qwen2_5_VLProcessor and smart_resize"
    model_class = "Qwen2_5_VLForConditionalGeneration"
    processor_class = "Qwen2_5_VLProcessor"

    def vision(self) -> Facts:
        """Return the encoder's configuration."""
        return {
            "model_type": "qwen2_5_vl",
            "depth": 2,
            "fullatt_block_indexes": [1],
            "hidden_size": 32,
            "intermediate_size": 32,
            "out_hidden_size": WIDTH,
            "num_heads": 2,
            "hidden_act": "silu",
            "in_channels": 3,
            "in_chans": 3,
            "patch_size": 14,
            "spatial_patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 112,
        }


FAMILY = Qwen25VL()
