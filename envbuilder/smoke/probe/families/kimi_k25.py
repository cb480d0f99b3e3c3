"""Kimi K2.5: images in their own size as patch grids; a video in chunks of four frames.

Values: transformers' defaults for moonshotai/Kimi-K2.6 (``media_proc_cfg`` of its
``preprocessor_config.json``) and ``config.json`` of moonshotai/Kimi-K2.5.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import language

PATCH, MERGE, FRAMES, SIDE = 14, 2, 4, 512
IMAGE, VIDEO = "<|media_pad|>", "<|kimi_k25_video_placeholder|>"


class KimiK25(FromFiles):
    """The frames of a chunk are pooled over time, so a chunk costs what one of its frames does."""

    name = "kimi_k25"
    source = "transformers, Kimi_K25Processor and Kimi_K25Model.get_image_features"
    model_class = "Kimi_K25ForConditionalGeneration"
    processor_class = "Kimi_K25Processor"
    kinds = ("image", "video")
    specials = (
        "[BOS]",
        "[EOS]",
        "[PAD]",
        "<|media_begin|>",
        "<|media_content|>",
        "<|media_end|>",
        IMAGE,
        VIDEO,
    )
    named_tokens = {
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "pad_token": "[PAD]",
        "image_token": IMAGE,
        "video_token": VIDEO,
    }
    template = {
        "image": f"<|media_begin|>image<|media_content|>{IMAGE}<|media_end|>",
        "video": VIDEO,
    }

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        patches = {**HALF, "patch_size": PATCH, "merge_size": MERGE}
        side = {"max_height": SIDE, "max_width": SIDE}  # in patches
        return {
            "processor_config.json": {
                "processor_class": self.processor_class,
                "image_processor": {
                    **patches,
                    "image_processor_type": "Kimi_K25ImageProcessor",
                    "size": side,
                    "max_patches": 16384,
                },
                "video_processor": {
                    **patches,
                    "video_processor_type": "Kimi_K25VideoProcessor",
                    "size": side,
                    "max_patches": 4096,
                    "temporal_patch_size": FRAMES,
                    "fps": 2,
                },
            }
        }

    def decoder(self, ids: dict[str, int]) -> Facts:
        """Return DeepSeek V3's decoder: one dense layer, one of experts."""
        return language(
            "deepseek_v3",
            q_lora_rank=32,
            kv_lora_rank=32,
            qk_nope_head_dim=16,
            qk_rope_head_dim=16,
            v_head_dim=16,
            moe_intermediate_size=32,
            n_routed_experts=4,
            n_shared_experts=1,
            num_experts_per_tok=2,
            n_group=1,
            topk_group=1,
            first_k_dense_replace=1,
            pad_token_id=ids["[PAD]"],
        )

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids[IMAGE],
            "video_token_id": ids[VIDEO],
            "vision_start_token_id": ids["<|media_begin|>"],
            "vision_end_token_id": ids["<|media_end|>"],
            "projection_hidden_size": 32,
            "text_config": self.decoder(ids),
            "vision_config": {
                "model_type": "kimi_k25_vision",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "patch_size": PATCH,
                "merge_kernel_size": [MERGE, MERGE],
                "pos_emb_height": 64,
                "pos_emb_width": 64,
                "pos_emb_time": FRAMES,
            },
            "torch_dtype": "float32",
        }


FAMILY = KimiK25()
