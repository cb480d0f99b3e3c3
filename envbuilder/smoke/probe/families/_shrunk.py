"""The parts of the tiny models that carry weights, shrunk; nothing here changes a token count."""

from __future__ import annotations

from ..facts import Facts

WIDTH = 64
VOCABULARY = 320


def language(kind: str, **more: object) -> Facts:
    """Return a decoder's configuration: two layers, two heads, ``WIDTH`` wide."""
    return {
        "model_type": kind,
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-06,
        "tie_word_embeddings": False,
        **more,
    }


def vision(kind: str, *, side: int, patch: int, **more: object) -> Facts:
    """Return an image encoder's configuration for square images of ``side`` px."""
    return {
        "model_type": kind,
        "image_size": side,
        "patch_size": patch,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        **more,
    }
