"""Named families that are counted as any model directory is: by their own files.

Such a family says how its tiny model is written, with the released settings; ids, prompts and
encoders are found as for a model that nobody described (:mod:`.generic`), and its processor's
formula stands in :mod:`..formulas`.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Sequence

from ..facts import Facts
from ._model_files import read_json
from .base import Family
from .generic import Generic

HALF: Facts = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
CLIP: Facts = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


class FromFiles(Generic):
    """A family that writes a directory, and is counted by what stands there."""

    tokenizer_class = "PreTrainedTokenizerFast"
    template: Facts = {}
    """How a chat template marks an item of each modality; empty if the release has none."""
    kinds: Sequence[str] = ()
    """The modalities that the released model takes, of which the tiny one must lose none."""

    def write(self, directory: str) -> None:
        """Write a complete model directory, but for the weights."""
        super().write(directory)
        if self.template:
            template = chat_template(self.template)
            Path(directory, "chat_template.jinja").write_text(template, encoding="utf-8")

    def tiny(self, directory: str) -> Family:
        """Return the family with what it wrote to ``directory``: it knows nothing else."""
        return self.of(directory)

    def real(self, directory: str) -> Family:
        """Return the family of a user's model: of its own class, and what it takes it says itself.

        A release's relative may lack an encoder (Gemma 4 without sound), or be another class.
        """
        family = copy.copy(self)
        family.kinds = ()
        named = read_json(directory, "config.json").get("architectures") or []
        family.model_class = named[0] if named else self.model_class
        return family.of(directory)

    def bound(self, processor: Any, directory: str) -> Family:
        """Return the family as ``processor`` shows it; what it no longer takes is not passed over.

        Raises Absent if it takes nothing.
        """
        family = super().bound(processor, directory)
        lost = [kind for kind in self.kinds if kind not in family.modalities]
        why = f"this release's {type(processor).__name__} takes no "
        family.uncounted = {**{kind: why + kind for kind in lost}, **family.uncounted}
        return family


def chat_template(marks: Facts) -> str:
    """Return a template that writes a message's parts one after another, ``marks`` for items."""
    items = "".join(
        "{% if part['type'] == '" + kind + "' %}" + mark + "{% endif %}"
        for kind, mark in marks.items()
    )
    return (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
        + items
        + "{% endfor %}{% endfor %}"
    )
