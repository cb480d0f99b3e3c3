"""Qwen3.5 with experts: counts as Qwen3.5 does.

Values: ``preprocessor_config.json`` and ``config.json`` of Qwen/Qwen3.5-35B-A3B.
"""

from __future__ import annotations

from ..facts import Facts
from .qwen3_5 import Qwen35
from .qwen3_vl_moe import EXPERTS


class Qwen35Moe(Qwen35):
    """The same grids before another decoder."""

    name = "qwen3_5_moe"
    model_class = "Qwen3_5MoeForConditionalGeneration"

    def decoder(self) -> Facts:
        """Return what the decoder has beside what all have."""
        return {**super().decoder(), **EXPERTS, "shared_expert_intermediate_size": 32}


FAMILY = Qwen35Moe()
