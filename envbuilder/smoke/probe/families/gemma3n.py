"""Gemma 3n: every image becomes 256 tokens and every sound 188, however short it is.

Values: ``preprocessor_config.json``, ``processor_config.json`` and ``config.json`` of
google/gemma-3n-E4B-it. The image's encoder is timm's.
"""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from ..samples import Sample
from ..tokenizer import NEWLINES
from ._encoders import handed, rows
from ._from_files import HALF, FromFiles
from ._shrunk import VOCABULARY, WIDTH, language

SIDE = 768
IMAGE_TOKENS, AUDIO_TOKENS = 256, 188
BLOCK: Facts = {
    "block_type": "er",
    "out_chs": 16,
    "stride": 2,
    "act_layer": None,
    "exp_kernel_size": 3,
    "pw_kernel_size": 1,
    "exp_ratio": 1.0,
    "force_in_chs": 0,
    "se_ratio": 0.0,
    "noskip": False,
}
STAGES = [[BLOCK]] * 4
"""A MobileNet V5 that halves the sides as often as the released one, of one block each time."""
MEL_FRAME = 512
"""Sound samples of 32 ms; one more starts the first frame."""


class Gemma3n(FromFiles):
    """The model itself fills up what its encoder makes of a sound to the length of 30 s."""

    name = "gemma3n"
    source = "transformers, Gemma3nProcessor and Gemma3nModel.forward"
    model_class = "Gemma3nForConditionalGeneration"
    processor_class = "Gemma3nProcessor"
    kinds = ("audio", "image")
    needs = {"timm": "timm"}
    specials = (
        "<pad>",
        "<eos>",
        "<bos>",
        "<start_of_image>",
        "<start_of_audio>",
        "<end_of_image>",
        "<image_soft_token>",
        "<end_of_audio>",
        "<audio_soft_token>",
        *NEWLINES,
    )
    named_tokens = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
        "boa_token": "<start_of_audio>",
        "eoa_token": "<end_of_audio>",
        "audio_token": "<audio_soft_token>",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
    }
    template = {"image": "<image_soft_token>", "audio": "<audio_soft_token>"}

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        return {
            "preprocessor_config.json": {
                **HALF,
                "image_processor_type": "SiglipImageProcessorFast",
                "feature_extractor_type": "Gemma3nAudioFeatureExtractor",
                "processor_class": self.processor_class,
                "size": {"height": SIDE, "width": SIDE},
                "do_normalize": False,
                "resample": 2,
                "feature_size": 128,
                "sampling_rate": 16000,
                "frame_length_ms": 32.0,
                "hop_length_ms": 10.0,
                "fft_overdrive": True,
                "mel_floor": 1e-05,
                "padding_side": "right",
                "return_attention_mask": False,
            },
            "processor_config.json": {
                "processor_class": self.processor_class,
                "audio_seq_length": AUDIO_TOKENS,
                "image_seq_length": IMAGE_TOKENS,
            },
        }

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json; the encoders' own vocabularies follow the text's, as released."""
        image, sound = ids["<end_of_image>"], ids["<end_of_audio>"]
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "image_token_id": ids["<image_soft_token>"],
            "boi_token_id": ids["<start_of_image>"],
            "eoi_token_id": image,
            "audio_token_id": ids["<audio_soft_token>"],
            "boa_token_id": ids["<start_of_audio>"],
            "eoa_token_id": sound,
            "vision_soft_tokens_per_image": IMAGE_TOKENS,
            "audio_soft_tokens_per_image": AUDIO_TOKENS,
            "text_config": self.decoder(ids),
            "vision_config": {
                "model_type": "gemma3n_vision",
                "architecture": "mobilenetv5_300m_enc",
                "model_args": {"block_args": STAGES, "stem_size": 16, "fix_stem": True},
                "label_names": ["LABEL_0", "LABEL_1"],
                "hidden_size": 2048,
                "vocab_offset": image,
                "vocab_size": sound - image,
            },
            "audio_config": {
                "model_type": "gemma3n_audio",
                "hidden_size": 32,
                "conf_num_attention_heads": 2,
                "conf_num_hidden_layers": 2,
                "sscp_conv_channel_size": [16, 8],
                "vocab_offset": sound,
                "vocab_size": VOCABULARY - sound,
            },
            "torch_dtype": "float32",
        }

    def decoder(self, ids: dict[str, int]) -> Facts:
        """Return the decoder's configuration."""
        return language(
            "gemma3n_text",
            head_dim=32,
            hidden_activation="gelu_pytorch_tanh",
            layer_types=["sliding_attention", "full_attention"],
            num_kv_shared_layers=0,
            altup_num_inputs=2,
            laurel_rank=8,
            activation_sparsity_pattern=[0.0, 0.0],
            intermediate_size=[WIDTH, WIDTH],
            vocab_size_per_layer_input=ids["<end_of_image>"],
            hidden_size_per_layer_input=16,
            pad_token_id=ids["<pad>"],
        )

    def samples(self, modality: str) -> list[Sample]:
        """Return what any model is tried with, but for sound of which no whole mel frame is left.

        Its encoder cannot be asked of none.
        """
        found = super().samples(modality)
        return [one for one in found if modality != "audio" or one.shape[0] > MEL_FRAME]

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Return the rows of an image; of a sound those that the model fills up and inserts."""
        if modality != "audio":
            return super().features(model, modality, inputs)
        taken = ("input_ids", "input_features", "input_features_mask")
        sound = {name: inputs[name] for name in taken}
        given = handed(model.model, "get_placeholder_mask", lambda: model.model(**sound))
        return rows(given["audio_features"])


FAMILY = Gemma3n()
