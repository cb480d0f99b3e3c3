"""MiniCPM-V 4.6: an image whole, and in up to nine slices of about 448 px; 16 patches a token.

Values: transformers' defaults for openbmb/MiniCPM-V-4.6, and its ``config.json``.
"""

from __future__ import annotations

from ..facts import Facts
from ._from_files import HALF, FromFiles
from ._shrunk import VOCABULARY, language

SCALE, PATCH, SLICES = 448, 14, 9
IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
MARKS = {
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}


class MiniCPMV46(FromFiles):
    """Patches are merged twice, inside the encoder and behind it: 4 by 4 are one token's."""

    name = "minicpmv4_6"
    source = "transformers, MiniCPMV4_6Processor and MiniCPMV4_6Model.get_image_features"
    model_class = "MiniCPMV4_6ForConditionalGeneration"
    processor_class = "MiniCPMV4_6Processor"
    kinds = ("image", "video")
    specials = ("<|endoftext|>", "<|im_end|>", IMAGE, VIDEO, *MARKS.values())
    named_tokens = {
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "image_token": IMAGE,
        "video_token": VIDEO,
        **MARKS,
    }
    template = {"image": IMAGE, "video": VIDEO}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        slices = {
            **HALF,
            "max_slice_nums": SLICES,
            "scale_resolution": SCALE,
            "patch_size": PATCH,
            "slice_mode": True,
            "downsample_mode": "16x",
            "use_image_id": True,
        }
        return {
            "processor_config.json": {
                "processor_class": self.processor_class,
                "image_processor": {
                    **slices,
                    "image_processor_type": "MiniCPMV4_6ImageProcessor",
                },
                "video_processor": {
                    **slices,
                    "video_processor_type": "MiniCPMV4_6VideoProcessor",
                    "max_num_frames": 128,
                    "stack_frames": 1,
                },
            }
        }

    def decoder(self, ids: dict[str, int]) -> Facts:
        """Return Qwen3.5's decoder: one layer of linear attention, one of full attention."""
        return language(
            "qwen3_5_text",
            vocab_size=VOCABULARY,
            head_dim=32,
            layer_types=["linear_attention", "full_attention"],
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            linear_num_key_heads=2,
            linear_num_value_heads=2,
            pad_token_id=ids["<|endoftext|>"],
        )

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids[IMAGE],
            "video_token_id": ids[VIDEO],
            "image_size": SCALE,
            "insert_layer_id": 0,
            "downsample_mode": "16x",
            "merge_kernel_size": [2, 2],
            "merger_times": 1,
            "text_config": self.decoder(ids),
            "vision_config": {
                "model_type": "minicpmv4_6_vision",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 980,
                "patch_size": PATCH,
                "window_kernel_size": [2, 2],
            },
            "torch_dtype": "float32",
        }


FAMILY = MiniCPMV46()
