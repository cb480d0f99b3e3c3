"""Whisper and its kin: a decoder that looks at what an encoder heard, without any placeholder.

Nothing is inserted into a prompt here, so three other numbers must agree: the positions that the
configuration reserves for the encoder, the rows that the encoder makes of a window, and what its
two convolutions (the second of stride 2) make of the extractor's mel frames.

Source: transformers, WhisperEncoder.forward (it refuses windows of another length).
"""

from __future__ import annotations

import copy
from typing import Any, Sequence

from .. import samples
from ..samples import Sample
from ._encoders import rows
from ._model_files import read_json
from .base import Family, Modality


class SpeechToText(Family):
    """Counts the encoder's positions as what the decoder looks at."""

    name = "speech-to-text"
    source = "transformers, WhisperEncoder"
    modalities = {"audio": Modality("", "", "audio", "get_encoder")}
    several = False
    counts = "encoder positions (no placeholders: the decoder looks at the encoder's rows)"
    positions: int | None = None
    start = 0

    def heard(self, config: Any) -> Family:
        """Return the family of the model that ``config`` describes."""
        family = copy.copy(self)
        family.positions = getattr(config, "max_source_positions", None)
        family.start = config.decoder_start_token_id
        return family

    def load_model(self, directory: str, *, weights: bool) -> Any:
        """Load the model by the class that its config.json names."""
        self.model_class = read_json(directory, "config.json")["architectures"][0]
        return super().load_model(directory, weights=weights)

    def samples(self, modality: str) -> list[Sample]:
        """Return lengths below, at and above the window, which are all padded or cut to it."""
        return SAMPLES

    def call(
        self,
        processor: Any,
        items: Sequence[tuple[str, Any]],
        *,
        text: str | None = None,
        **options: Any,
    ) -> Any:
        """Run the extractor on one sound; the decoder starts with its first token."""
        import torch

        ((_, sound),) = items
        inputs = processor(sound, sampling_rate=samples.RATE, return_tensors="pt")
        inputs["decoder_input_ids"] = torch.tensor([[self.start]])
        return inputs

    def prompt(self, modalities: Sequence[str]) -> str:
        """Return the decoder's prompt: nothing stands in it for a sound."""
        return ""

    def counted(self, processor: Any, inputs: Any) -> dict[str, int]:
        """Return the positions that the configuration reserves for the encoder."""
        return {"audio": int(self.positions or 0)}

    def length(self, inputs: Any) -> int:
        """Return the length of the decoder's prompt."""
        return int(inputs["decoder_input_ids"].shape[-1])

    def searched(self, modality: str) -> list[Sample]:
        """Return none: every sound is padded or cut to one window."""
        return []

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[int, None]:
        """Count by mel frames: the second convolution halves them, rounding up."""
        return (int(inputs["input_features"].shape[-1]) - 1) // 2 + 1, None

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Return the rows that the encoder makes."""
        return rows(model.get_encoder()(inputs["input_features"]))

    def token_id(self, modality: str, processor: Any) -> int:
        """Return no id of any vocabulary."""
        return -1


SAMPLES = samples.audio(
    ("edge", 0.025),
    ("small", 1),
    ("edge", 2.74),
    ("typical", 3.7),
    ("maximum", 30),
    ("beyond", 30.01),
)
