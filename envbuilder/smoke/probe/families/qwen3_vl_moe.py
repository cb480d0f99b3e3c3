"""Qwen3-VL with experts: counts as Qwen3-VL does.

Values: ``preprocessor_config.json`` and ``config.json`` of Qwen/Qwen3-VL-30B-A3B-Instruct.
"""

from __future__ import annotations

from ..facts import Facts
from .qwen3_vl import Qwen3VL

EXPERTS: Facts = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}


class Qwen3VLMoe(Qwen3VL):
    """The same grids before another decoder."""

    name = "qwen3_vl_moe"
    model_class = "Qwen3VLMoeForConditionalGeneration"

    def decoder(self) -> Facts:
        """Return what the decoder has beside what all have."""
        return {**super().decoder(), **EXPERTS}

    def vision(self) -> Facts:
        """Return the encoder's configuration."""
        return {**super().vision(), "model_type": "qwen3_vl_moe_vision"}


FAMILY = Qwen3VLMoe()
