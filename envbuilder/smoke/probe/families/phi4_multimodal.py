"""Phi-4-multimodal: a view of 256 tokens and tiles of 448 px, cut to the image; sound by eighths.

Values: ``preprocessor_config.json`` and ``config.json`` of microsoft/Phi-4-multimodal-instruct.
"""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ._encoders import handed, rows
from ._from_files import HALF, FromFiles
from ._shrunk import language

SIDE, PATCH = 448, 14
IMAGE, AUDIO = "<|endoftext10|>", "<|endoftext11|>"
TAKEN = {
    "image": ("image_pixel_values", "image_sizes", "image_attention_mask"),
    "audio": ("audio_input_features", "audio_embed_sizes", "audio_attention_mask"),
}
"""What the embedding of a modality takes of the processor's outputs; the first has one per item."""


class Phi4Multimodal(FromFiles):
    """Each line of an image's tokens ends with one more, and one stands between its views."""

    name = "phi4_multimodal"
    source = "transformers, Phi4MultimodalProcessor and Phi4MultimodalImageEmbedding"
    model_class = "Phi4MultimodalForCausalLM"
    processor_class = "Phi4MultimodalProcessor"
    kinds = ("audio", "image")
    specials = ("<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", IMAGE, AUDIO)
    named_tokens = {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|end|>",
        "pad_token": "<|endoftext|>",
        "image_token": IMAGE,
        "audio_token": AUDIO,
    }
    template = {"image": IMAGE, "audio": AUDIO}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "Phi4MultimodalImageProcessorFast",
                "feature_extractor_type": "Phi4MultimodalFeatureExtractor",
                "processor_class": self.processor_class,
                "size": {"height": SIDE, "width": SIDE},
                "patch_size": PATCH,
                "dynamic_hd": 36,
                "audio_compression_rate": 8,
                "audio_downsample_rate": 1,
                "audio_feat_stride": 1,
            }
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json: the ids that are repeated stand with the encoders."""
        end = ids["<|endoftext|>"]
        return {
            **language(self.name, pad_token_id=end, bos_token_id=end, eos_token_id=[end]),
            "architectures": [self.model_class],
            "vision_config": {
                "model_type": "phi4_multimodal_vision",
                "image_token_id": ids[IMAGE],
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": SIDE,
                "crop_size": SIDE,
                "patch_size": PATCH,
                "feature_layer": -2,
            },
            "audio_config": {
                "model_type": "phi4_multimodal_audio",
                "audio_token_id": ids[AUDIO],
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_blocks": 2,
                "num_attention_heads": 2,
                "ext_pw_out_channel": 32,
                "depthwise_separable_out_channel": 32,
                "depthwise_seperable_out_channel": 32,  # as transformers 4 spells it
                "nemo_conv_channels": 32,
                "time_reduction": 8,
                "feature_layer": -2,
            },
            "torch_dtype": "float32",
        }

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Return the rows that reach the projection to the decoder: there is no method to ask."""
        extended = model.model.embed_tokens_extend
        if modality == "image":
            embed, projection = extended.image_embed, extended.image_embed.img_projection_up
        else:
            embed, projection = extended.audio_embed, extended.audio_embed.up_proj_for_speech
        given = {name: inputs[name] for name in TAKEN[modality] if inputs.get(name) is not None}
        count = len(inputs[TAKEN[modality][0]])
        made = [
            _rows(embed, projection, {name: value[at : at + 1] for name, value in given.items()})
            for at in range(count)
        ]
        if modality == "audio" and count > 1:  # the shorter ones are padded, and cut again
            made = [*map(min, made, inputs["audio_embed_sizes"].tolist())]
        return sum(made)


def _rows(embed: Any, projection: Any, item: Facts) -> int:
    """Return the rows that ``embed`` hands to ``projection`` for one item, and no prompt."""
    none = item[next(iter(item))].new_zeros((1, 0), dtype=int)
    blank = none.new_zeros((1, 0, 1), dtype=float)
    return rows(handed(projection, "forward", lambda: embed(none, blank, **item))["0"])


FAMILY = Phi4Multimodal()
