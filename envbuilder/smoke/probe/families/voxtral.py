"""Voxtral: sound in whole windows of 30 s, 375 tokens each, put in by Mistral's own tokenizer.

Values: ``preprocessor_config.json``, ``tekken.json`` and ``config.json`` of
mistralai/Voxtral-Mini-3B-2507.
"""

from __future__ import annotations

import base64
import io
import wave
from array import array
from typing import Any, Iterable, Sequence

from .. import samples, tokenizer
from ..facts import Facts
from ..samples import Sample
from . import _tekken
from ._shrunk import language
from ._whisper import HOP, extractor
from .base import Family, Modality

SECONDS, BINS, PER_SECOND = 30, 128, 12.5
AUDIO = 24
"""The id of ``[AUDIO]``, which the processor takes for granted."""
FIRST = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] "
    "[/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
)
MARKS = {
    **{text: number for number, text in enumerate(FIRST.split())},
    "[AUDIO]": AUDIO,
    "[BEGIN_AUDIO]": 25,
    "[ARGS]": 32,
    "[CALL_ID]": 33,
    "[TRANSCRIBE]": 34,
}


class Voxtral(Family):
    """Four rows of a Whisper encoder are one token's; its prompts are conversations, not text."""

    name = "voxtral"
    source = "mistral-common, AudioEncoder; transformers, VoxtralModel.get_audio_features"
    model_class = "VoxtralForConditionalGeneration"
    processor_class = "VoxtralProcessor"
    spelled = False
    needs = {"mistral_common": "mistral-common[audio]", "soundfile": "soundfile"}
    specials = tuple(MARKS)
    modalities = {"audio": Modality("[AUDIO]", "[AUDIO]", "audio", "get_audio_features")}
    settings = {"chunk_length": SECONDS}
    engine_arguments = {"tokenizer_mode": "mistral"}

    def ids(self) -> dict[str, int]:
        """Return the id of every mark, which the tokenizer's own file states."""
        return dict(MARKS)

    def write(self, directory: str) -> None:
        """Write a complete model directory, but for the weights."""
        spectrogram = {"num_mel_bins": BINS, "hop_length": HOP, "window_size": 400}
        sound = {
            "sampling_rate": samples.RATE,
            "frame_rate": PER_SECOND,
            "audio_encoding_config": spectrogram,
            "chunk_length_s": float(SECONDS),
        }
        _tekken.write(directory, MARKS, version="v11", audio=sound)
        tokenizer.write_json(directory, "config.json", self.config(self.ids()))
        for name, value in self.processor_files().items():
            tokenizer.write_json(directory, name, value)

    def processor_files(self) -> dict[str, Facts]:
        """Return the real settings."""
        settings = {
            **extractor(seconds=SECONDS, bins=BINS),
            "processor_class": self.processor_class,
            "return_attention_mask": False,
        }
        return {"preprocessor_config.json": settings}

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json."""
        return {
            "model_type": self.name,
            "architectures": [self.model_class],
            "audio_token_id": ids["[AUDIO]"],
            "projector_hidden_act": "gelu",
            "text_config": language("llama", head_dim=32, pad_token_id=ids["<pad>"]),
            "audio_config": {
                "model_type": "voxtral_encoder",
                "hidden_size": 32,
                "intermediate_size": 128,  # what the projector takes: four rows at once
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_mel_bins": BINS,
                "max_source_positions": SECONDS * 50,
            },
            "torch_dtype": "float32",
        }

    def samples(self, modality: str) -> list[Sample]:
        """Return lengths around the window: what is below one is padded to it."""
        return SAMPLES

    def call(
        self,
        processor: Any,
        items: Sequence[tuple[str, Any]],
        *,
        text: str | None = None,
        **options: Any,
    ) -> Any:
        """Run the processor on a conversation with ``items``: it takes no text with marks."""
        content: list[Facts] = [{"type": "audio", "base64": wav(sound)} for _, sound in items]
        content.append({"type": "text", "text": "Describe." if text is None else text})
        return processor.apply_chat_template([{"role": "user", "content": content}], **options)

    def token_id(self, modality: str, processor: Any) -> int:
        """Return the id that the processor takes for granted."""
        return int(processor.audio_token_id)

    def engine_prompt(self, processor: Any, sample: Sample) -> list[int]:
        """Return a conversation's ids: the engine, too, finds the marks where the chat put them."""
        ids: list[int] = self.take(processor, sample)["input_ids"][0].tolist()
        return ids

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, None]:
        """Count whole windows, by the encoder's positions and how many of them the model joins."""
        encoder, window = config.audio_config, self.settings["chunk_length"] * samples.RATE
        joined = encoder.intermediate_size // encoder.hidden_size
        return -(-sample.shape[0] // window) * (encoder.max_source_positions // joined), None


def wav(sound: Iterable[float]) -> str:
    """Return ``sound`` as a WAV file of 16 bits, in base64."""
    levels = array("h", (int(32767 * max(-1.0, min(1.0, one))) for one in sound))
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(samples.RATE)
        written.writeframes(levels.tobytes())
    return base64.b64encode(file.getvalue()).decode("ascii")


SAMPLES = samples.audio(
    ("edge", 0.025),
    ("small", 1),
    ("edge", 2.74),
    ("typical", 29.99),
    ("maximum", 30),
    ("edge", 30.01),
    ("beyond", 61),
)
FAMILY = Voxtral()
