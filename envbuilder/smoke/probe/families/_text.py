"""Models of text alone: nothing is inserted into their prompts, so nothing is counted.

What is asked of one is that transformers builds it, that its tokenizer loads, and, of a model with
weights, that it answers.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, Sequence

from ..facts import Facts
from ._model_files import read_json
from .base import Family

TEXT_ALONE = "nothing: the model takes text alone"
"""What is counted of such a model."""
_CLASS = re.compile(r"(ForCausalLM|LMHeadModel)$")
_MORE = re.compile(r"(^|_)(vision|visual|image|img|im|mm|video|audio|speech|media|auto_map)(_|$)")
"""Keys of a ``config.json`` that say that the model takes more, or brings code that may."""
_PROCESSORS = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)


def is_text(config: Facts, directory: str, processor: str | None) -> bool:
    """Return whether everything in ``directory`` says that its model takes text alone.

    ``processor`` is the class of the processor that its files name.
    """
    named = config.get("architectures") or []
    return (
        bool(named)
        and all(_CLASS.search(name) for name in named)
        and not any(map(_MORE.search, config))
        and processor is None
        and not any(Path(directory, name).exists() for name in _PROCESSORS)
    )


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
