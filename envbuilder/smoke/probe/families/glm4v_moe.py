"""GLM-4.5V: counts as GLM-4.1V does; its decoder has experts.

Values: ``preprocessor_config.json`` and ``config.json`` of zai-org/GLM-4.5V.
"""

from __future__ import annotations

from ..facts import Facts
from .glm4v import Glm4v


class Glm4vMoe(Glm4v):
    """The same grids before another decoder."""

    name = "glm4v_moe"
    model_class = "Glm4vMoeForConditionalGeneration"
    encoder = "glm4v_moe_vision"

    def decoder(self) -> Facts:
        """Return what the decoder has beside what all have."""
        return {
            **super().decoder(),
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        }


FAMILY = Glm4vMoe()
