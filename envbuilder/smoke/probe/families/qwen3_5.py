"""Qwen3.5: Qwen3-VL's pictures and films before a decoder of linear and full attention.

Values: ``preprocessor_config.json`` and ``config.json`` of Qwen/Qwen3.5-27B.
"""

from __future__ import annotations

from ..facts import Facts
from ._shrunk import WIDTH
from .qwen3_vl import Qwen3VL

TURNED = 0.25
"""The part of each head that the rotary embedding turns."""


class Qwen35(Qwen3VL):
    """The same grids; the encoder has no deepstack."""

    name = "qwen3_5"
    model_class = "Qwen3_5ForConditionalGeneration"

    def decoder(self) -> Facts:
        """Return what the decoder has beside what all have: one layer of each attention."""
        rope = {
            "rope_type": "default",
            "rope_theta": 10000000.0,
            "mrope_interleaved": True,
            "mrope_section": [3, 3, 2],
            "partial_rotary_factor": TURNED,
        }
        return {
            "head_dim": WIDTH,
            "rope_parameters": rope,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
        }

    def vision(self) -> Facts:
        """Return the encoder's configuration."""
        encoder = {**super().vision(), "model_type": f"{self.name}_vision"}
        del encoder["deepstack_visual_indexes"]
        return encoder


FAMILY = Qwen35()
