"""Models of text alone: nothing is inserted into their prompts, so nothing is counted.

What is asked of one is that transformers builds it, that its tokenizer loads, and, of a model with
weights and a head that generates, that it answers.
"""

from __future__ import annotations

import copy
import importlib
import re
from pathlib import Path
from typing import Any, Iterator, Sequence

from ..facts import Facts
from ._model_files import read_json
from .base import Family

TEXT_ALONE = "nothing: the model takes text alone"
"""What is counted of such a model."""
_CLASS = re.compile(r"(ForCausalLM|LMHeadModel)$")
_MORE = re.compile(r"(^|_)(vision|visual|image|img|im|mm|video|audio|speech|media)(_|$)")
"""Keys of a ``config.json``, and types of models, that say that the model takes more."""
_PROCESSORS = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
_PROCESSED = {
    "feature_extraction_auto": "FEATURE_EXTRACTOR_MAPPING_NAMES",
    "image_processing_auto": "IMAGE_PROCESSOR_MAPPING_NAMES",
    "processing_auto": "PROCESSOR_MAPPING_NAMES",
    "video_processing_auto": "VIDEO_PROCESSOR_MAPPING_NAMES",
}
"""Where transformers lists the types of models that take more than a tokenizer gives, by module."""


def is_text(config: Facts, directory: str) -> bool:
    """Return whether everything in ``directory`` says that its model takes text alone.

    The name of the class does, or the class itself, which is transformers' own. Where the directory
    brings code (``auto_map``), that counts only if transformers knows the model without it. What a
    tokenizer's file calls its processor says nothing: the text part of Gemma 3 has it from the
    whole model.
    """
    named = config.get("architectures") or []
    if not named or any(map(_MORE.search, [str(config.get("model_type")), *_keys(config)])):
        return False
    if any(Path(directory, name).exists() for name in _PROCESSORS):
        return False
    spoken = all(_CLASS.search(name) for name in named) and "auto_map" not in config
    return spoken or _is_native_text(config.get("model_type"), named)


def _keys(config: Facts) -> Iterator[str]:
    """Yield the keys of ``config`` and of the configurations within it."""
    for name, value in config.items():
        yield name
        if name.endswith("_config") and isinstance(value, dict):
            yield from _keys(value)


def _is_native_text(kind: Any, named: Sequence[str]) -> bool:
    """Return whether transformers itself has ``kind`` and the classes, and gives them token ids."""
    import transformers

    if kind not in transformers.CONFIG_MAPPING or _has_processor(kind):
        return False
    classes = [getattr(transformers, name, None) for name in named]
    return all(getattr(one, "main_input_name", None) == "input_ids" for one in classes)


def _has_processor(kind: str) -> bool:
    """Return whether transformers has a processor for pictures or sound of the type ``kind``."""
    for module, name in _PROCESSED.items():
        try:
            listed = importlib.import_module(f"transformers.models.auto.{module}")
        except ModuleNotFoundError:
            continue  # older than processors of videos
        if kind in getattr(listed, name, {}):
            return True
    return False


class Text(Family):
    """Takes no items; runs one prompt of text."""

    name = "text model"
    source = "the model's own files"
    counts = TEXT_ALONE

    def of(self, directory: str) -> Family:
        """Return the family of the model in ``directory``, by the class that it names."""
        family = copy.copy(self)
        family.model_class = read_json(directory, "config.json")["architectures"][0]
        return family

    def load_processor(self, directory: str) -> Any:
        """Load the tokenizer: there is nothing else to process a text."""
        import transformers

        return transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)

    def generates(self) -> bool:
        """Return whether the class has a head that generates: to embed or to classify has none."""
        return bool(self.find_class(self.model_class).can_generate())

    def forward(self, model: Any, inputs: Any) -> Any:
        """Return the logits of one pass; a decoder behind an encoder begins with its own token."""
        if not model.config.is_encoder_decoder:
            return super().forward(model, inputs)
        import torch

        first = torch.tensor([[_first_id(model)]])
        return super().forward(model, {**inputs, "decoder_input_ids": first})

    def call(
        self,
        processor: Any,
        items: Sequence[tuple[str, Any]],
        *,
        text: str | None = None,
        **options: Any,
    ) -> Any:
        """Return a prompt of text as the model takes it."""
        inputs = processor(text or self.prompt([]), return_tensors="pt", **options)
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def prompt(self, modalities: Sequence[str]) -> str:
        """Return a text in plain letters, which every vocabulary can spell."""
        return "Describe."


def _first_id(model: Any) -> int:
    """Return the id with which the decoder begins, as ``generate`` finds it."""
    settings = model.generation_config
    start: int | None = settings.decoder_start_token_id
    return settings.bos_token_id if start is None else start
