"""Qwen2.5-Omni (the thinker): text, images, sound and video in one prompt.

Values: ``preprocessor_config.json`` and ``config.json`` of Qwen/Qwen2.5-Omni-7B.
"""

from __future__ import annotations

from typing import Any

from .. import samples
from ..facts import Facts
from ..samples import Sample, Sounding
from ._qwen_vision import QWEN2_VL_IMAGES, limits, resized, vision_tokens
from ._shrunk import language
from ._whisper import audio_tokens, extractor, mel_frames
from .base import Family, Modality

WINDOW = 300
"""Seconds after which the extractor truncates a sound (``chunk_length``)."""

SPECIALS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|AUDIO|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
    "<|vision_bos|>",
    "<|vision_eos|>",
    "<|vision_pad|>",
]
SOUNDING = samples.sounding(
    ("typical", 4, 56, 56, 2),  # frames last as long as the sound
    ("edge", 5, 320, 240, 2.74),  # an odd frame, and the sound of the classic off-by-one
    ("edge", 2, 56, 56, 7),  # the sound goes on for three chunks after the last frame
)


class Qwen25Omni(Family):
    """Images and video: t·h·w/merge² of the patch grid; sound: a quarter of its mel frames."""

    name = "qwen2_5_omni"
    source = "transformers, Qwen2_5OmniProcessor and Qwen2_5OmniAudioEncoder"
    model_class = "Qwen2_5OmniThinkerForConditionalGeneration"
    tokenizer_class = "Qwen2Tokenizer"
    processor_class = "Qwen2_5OmniProcessor"
    settings = {**limits(QWEN2_VL_IMAGES), "chunk_length": WINDOW}
    pixels_per_side = 28
    sounding = SOUNDING
    specials = SPECIALS
    named_tokens = {
        "image_token": "<|IMAGE|>",
        "audio_token": "<|AUDIO|>",
        "video_token": "<|VIDEO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    modalities = {
        "audio": Modality(
            "<|AUDIO|>", "<|audio_bos|><|AUDIO|><|audio_eos|>", "audio", "get_audio_features"
        ),
        "image": Modality(
            "<|IMAGE|>", "<|vision_bos|><|IMAGE|><|vision_eos|>", "images", "get_image_features"
        ),
        "video": Modality(
            "<|VIDEO|>", "<|vision_bos|><|VIDEO|><|vision_eos|>", "videos", "get_video_features"
        ),
    }

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings: pictures as in Qwen2-VL, sound as in Whisper large-v3."""
        return {
            "preprocessor_config.json": {
                **QWEN2_VL_IMAGES,
                **extractor(seconds=WINDOW, bins=128),
                "processor_class": "Qwen2_5OmniProcessor",
            }
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return the wrapped configuration that vLLM wants; the thinker alone stands inside."""
        thinker = {
            "model_type": "qwen2_5_omni_thinker",
            "architectures": ["Qwen2OmniNaViTThinkerForConditionalGeneration"],
            "audio_config": AUDIO,
            "vision_config": VISION,
            "text_config": {**TEXT, "bos_token_id": ids["<|endoftext|>"]},
            "ignore_index": -100,
            "initializer_range": 0.02,
            "position_id_per_seconds": 25,
            "seconds_per_chunk": 2,
            "user_token_id": ord("u"),
            "pad_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
        }
        for key, token in TOKEN_KEYS.items():
            thinker[key + "_id"] = thinker[key + "_index"] = ids[token]
        return {
            "model_type": "qwen2_5_omni",
            "architectures": ["Qwen2_5OmniModel"],
            "enable_audio_output": False,
            "enable_talker": False,
            "thinker_config": thinker,
            "torch_dtype": "float32",
        }

    def load_config(self, directory: str) -> Any:
        """Return the thinker's part of the wrapped configuration."""
        return super().load_config(directory).thinker_config

    def samples(self, modality: str) -> list[Sample]:
        """Return sizes around the audio window, the patch and the pixel limits."""
        return SAMPLES[modality]

    def take_sounding(self, processor: Any, sample: Sounding) -> Any:
        """Interleave sound and frames two seconds at a time, behind one video token.

        Before 5.20 the n-th sound was that of the n-th video; since then the caller says so.
        """
        options: Facts = {"use_audio_in_video": True}
        if hasattr(processor, "load_audio_from_video"):
            options = {"load_audio_from_video": True, "audio_from_video_indices": [0]}
        items = [("video", sample.make()), ("audio", sample.sound.make())]
        inputs = self.call(processor, items, text=self.prompt(["video"]), **options)
        inputs["use_audio_in_video"] = True  # the model lays out positions by it
        return inputs

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, list[int] | None]:
        """Count by the model's own merge size, and by mel frames halved twice for sound."""
        if sample.modality == "audio":
            window = self.settings["chunk_length"] * samples.RATE
            return audio_tokens(mel_frames(sample, inputs["feature_attention_mask"], window)), None
        grid = inputs[sample.modality + "_grid_thw"][0].tolist()
        merge = config.vision_config.spatial_merge_size
        if sample.modality == "image":
            height, width = resized(sample.shape, self.settings)
            return height * width // (config.vision_config.patch_size * merge) ** 2, grid
        return vision_tokens(grid, merge), grid


TOKEN_KEYS = {
    "audio_token": "<|AUDIO|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "audio_start_token": "<|audio_bos|>",
    "audio_end_token": "<|audio_eos|>",
    "vision_start_token": "<|vision_bos|>",
    "vision_end_token": "<|vision_eos|>",
    "vision_token": "<|vision_pad|>",
}
AUDIO = {
    "model_type": "qwen2_5_omni_audio_encoder",
    "num_mel_bins": 128,
    "max_source_positions": 1500,
    "n_window": 100,
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "output_dim": 64,
}
VISION = {
    "model_type": "qwen2_5_omni_vision_encoder",
    "patch_size": 14,
    "spatial_patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "in_channels": 3,
    "in_chans": 3,
    "depth": 2,
    "fullatt_block_indexes": [1],
    "hidden_size": 32,
    "embed_dim": 32,
    "num_heads": 2,
    "intermediate_size": 32,
    "out_hidden_size": 64,
    "hidden_act": "silu",
    "tokens_per_second": 25,
}
TEXT = language(
    "qwen2_5_omni_text",
    max_window_layers=2,
    rope_theta=1000000.0,
    rope_scaling={"type": "default", "rope_type": "default", "mrope_section": [4, 6, 6]},
    use_sliding_window=False,
)
SAMPLES = {
    "audio": samples.audio(
        ("edge", 0.025),
        ("small", 1),
        ("edge", 2.74),  # 43840 samples, 320 beyond a multiple of 640: the classic off-by-one
        ("typical", 3.7),
        ("maximum", 30),
        ("edge", 30.01),
        ("beyond", 301),
    ),
    "image": samples.image(
        ("edge", 28, 28),
        ("small", 280, 280),
        ("edge", 281, 279),
        ("typical", 640, 480),
        ("edge", 1323, 49),
        ("typical", 1280, 720),
        ("maximum", 3584, 3584),
        ("beyond", 4000, 4000),
    ),
    "video": samples.video(
        ("edge", 1, 320, 240),
        ("small", 2, 28, 28),
        ("edge", 3, 320, 240),
        ("typical", 8, 640, 360),
        ("maximum", 2, 3584, 3584),
    ),
}
FAMILY = Qwen25Omni()
