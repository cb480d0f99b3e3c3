"""Qwen3-Omni (the thinker): 13 tokens for each second of sound, pictures in patches of 16 px.

Values: ``preprocessor_config.json`` and ``config.json`` of Qwen/Qwen3-Omni-30B-A3B-Instruct.
"""

from __future__ import annotations

from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import Sample
from ._encoders import rows
from ._qwen_vision import limits, resized, vision_tokens
from ._shrunk import WIDTH, language
from ._whisper import extractor, mel_frames
from .base import Modality
from .qwen2_5_omni import SAMPLES as OMNI_SAMPLES
from .qwen2_5_omni import WINDOW, Qwen25Omni
from .qwen3_vl import FAMILY as QWEN3_VL
from .qwen3_vl import PATCHES

IMAGES: Facts = {**PATCHES, "min_pixels": 3136, "max_pixels": 12845056}
SECOND = 100
"""Mel frames that the encoder takes at a time, and makes 13 tokens of."""


class Qwen3Omni(Qwen25Omni):
    """Images and video: t·h·w/merge² of the patch grid; sound: an eighth of its mel frames."""

    name = "qwen3_omni_moe"
    source = "transformers, Qwen3OmniMoeProcessor and Qwen3OmniMoeAudioEncoder"
    model_class = "Qwen3OmniMoeThinkerForConditionalGeneration"
    processor_class = "Qwen3OmniMoeProcessor"
    settings = {**limits(IMAGES), "chunk_length": WINDOW}
    pixels_per_side = 32
    specials = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|audio_start|>",
        "<|audio_end|>",
        "<|audio_pad|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    named_tokens = {
        "image_token": "<|image_pad|>",
        "audio_token": "<|audio_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    modalities = {
        "audio": Modality(
            "<|audio_pad|>",
            "<|audio_start|><|audio_pad|><|audio_end|>",
            "audio",
            "get_audio_features",
        ),
        "image": Modality(
            "<|image_pad|>",
            "<|vision_start|><|image_pad|><|vision_end|>",
            "images",
            "get_image_features",
        ),
        "video": Modality(
            "<|video_pad|>",
            "<|vision_start|><|video_pad|><|vision_end|>",
            "videos",
            "get_video_features",
        ),
    }

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **IMAGES,
                **extractor(seconds=WINDOW, bins=128),
                "image_processor_type": "Qwen2VLImageProcessor",
                "processor_class": self.processor_class,
            }
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return the wrapped configuration; the thinker alone stands inside."""
        rope = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [6, 5, 5]}
        thinker = {
            "model_type": "qwen3_omni_moe_thinker",
            "audio_config": AUDIO,
            "vision_config": {
                **QWEN3_VL.vision(),
                "model_type": "qwen3_omni_moe_vision_encoder",
                "image_size": 768,
            },
            "text_config": language(
                "qwen3_omni_moe_text", head_dim=WIDTH // 2, rope_scaling=rope, **EXPERTS
            ),
            "audio_token_id": ids["<|audio_pad|>"],
            "image_token_id": ids["<|image_pad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "audio_start_token_id": ids["<|audio_start|>"],
            "audio_end_token_id": ids["<|audio_end|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
            "position_id_per_seconds": 13,
            "seconds_per_chunk": 2,
            "user_token_id": ord("u"),
        }
        return {
            "model_type": self.name,
            "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
            "enable_audio_output": False,
            "thinker_config": thinker,
            "torch_dtype": "float32",
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return sizes around the second of sound, the patch and the pixel limits."""
        return SAMPLES[modality]

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count by the model's own merge size; by whole seconds and what is left for sound."""
        if sample.modality == "audio":
            (length,) = sample.shape
            mask = inputs["feature_attention_mask"]
            window = self.settings["chunk_length"] * samples.RATE
            if length > window:  # 4.57 truncates there, 5.23 does not
                return audio_tokens(int(mask.sum())), None
            return audio_tokens(mel_frames(sample, mask, window)), None
        grid = inputs[sample.modality + "_grid_thw"][0].tolist()
        vision = config.vision_config
        if sample.modality == "video":
            return vision_tokens(grid, vision.spatial_merge_size), grid
        height, width = resized(sample.shape, self.settings)
        return height * width // (vision.patch_size * vision.spatial_merge_size) ** 2, grid

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Count the rows of the last layer; 4.57 returns those of the deepstack beside them."""
        encoded = self.encoded(model, self.modalities[modality].features, inputs)
        return rows(encoded[0] if type(encoded) is tuple else encoded)


def audio_tokens(frames: int) -> int:
    """Return the tokens of ``frames`` mel frames: three stride-2 convolutions, second by second.

    Source: ``_get_feat_extract_output_lengths`` of transformers' Qwen3-Omni.
    """
    seconds, left = divmod(frames, SECOND)
    for _ in range(3):
        left = (left + 1) // 2
    return 13 * seconds + left


AUDIO = {
    "model_type": "qwen3_omni_moe_audio_encoder",
    "num_mel_bins": 128,
    "max_source_positions": 1500,
    "n_window": 50,
    "n_window_infer": 800,
    "conv_chunksize": 500,
    "downsample_hidden_size": 8,
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "output_dim": WIDTH,
}
EXPERTS: Facts = {
    "rope_theta": 1000000.0,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "decoder_sparse_step": 1,
    "norm_topk_prob": True,
}
SAMPLES = {
    "audio": samples.audio(
        ("edge", 0.025),
        ("edge", 0.99),
        ("small", 1),
        ("edge", 1.01),
        ("edge", 2.74),
        ("typical", 3.7),
        ("maximum", 30),
        ("edge", 30.01),
        ("beyond", 301),
    ),
    "image": samples.image(
        ("edge", 32, 32),
        ("small", 320, 320),
        ("edge", 321, 319),
        ("edge", 1323, 49),
        ("typical", 640, 480),
        ("maximum", 3584, 3584),
        ("beyond", 4000, 4000),
    ),
    "video": OMNI_SAMPLES["video"],
}
FAMILY = Qwen3Omni()
