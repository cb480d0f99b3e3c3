"""Any other model directory: what its own processor and its own feature functions say.

There is no formula for it, so placeholders are compared with encoder rows alone. Its chat template
writes the prompts: what marks an item there need not be the token that is repeated (Gemma 3).
"""

from __future__ import annotations

from typing import Any, Sequence

from .. import samples
from ..facts import Absent, Facts, Inapplicable
from ..samples import Sample
from .base import Family, Modality, read_json

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "audio": ("audio", "audios"),
    "image": ("images",),
    "video": ("videos",),
}


class Generic(Family):
    """A model that no file here describes; :meth:`bound` learns its modalities."""

    name = "generic"
    source = "the model's own files"
    processor: Any = None

    def bound(self, processor: Any) -> Family:
        """Return a family with the modalities for which ``processor`` names a token.

        Raises Inapplicable where no chat template says how an item stands in a prompt.
        """
        found = {}
        for kind, argument in ARGUMENTS.items():
            token = getattr(processor, f"{kind}_token", None)
            if isinstance(token, str):
                found[kind] = Modality(token, token, argument, f"get_{kind}_features")
        if not found:
            raise Absent(f"{type(processor).__name__} names no image, video or audio token")
        if not getattr(processor, "chat_template", None):
            raise Inapplicable(
                "no family describes this model, and no chat template of its own says how an item "
                "stands in a prompt"
            )
        family = Generic()
        family.modalities, family.processor = found, processor
        return family

    def prompt(self, modalities: Sequence[str]) -> str:
        """Return a user's message with one item of each of ``modalities``, by the template."""
        content = [{"type": name} for name in modalities] + [{"type": "text", "text": "Describe."}]
        message = {"role": "user", "content": content}
        prompt: str = self.processor.apply_chat_template([message], tokenize=False)
        return prompt

    def load_model(self, directory: str, *, weights: bool) -> Any:
        """Load the model by the class that its config.json names."""
        self.model_class = read_json(directory, "config.json")["architectures"][0]
        return super().load_model(directory, weights=weights)

    def samples(self, modality: str) -> list[Sample]:
        """Return common sizes."""
        return SAMPLES[modality]

    def formula(self, sample: Sample, inputs: Any, config: Any) -> tuple[None, list[int] | None]:
        """Return no number: there is no formula for an unknown model."""
        grids: Facts = {name: inputs[name] for name in inputs if name.endswith("_grid_thw")}
        grid = grids.get(sample.modality + "_grid_thw")
        return None, None if grid is None else grid[0].tolist()


SAMPLES = {
    "audio": samples.audio(("small", 1), ("edge", 2.74), ("typical", 3.7), ("maximum", 30)),
    "image": samples.image(
        ("small", 280, 280),
        ("edge", 281, 279),
        ("edge", 1323, 49),
        ("typical", 640, 480),
        ("maximum", 2000, 2000),
    ),
    "video": samples.video(
        ("small", 2, 112, 112),
        ("edge", 3, 320, 240),
        ("typical", 8, 640, 360),
        ("maximum", 8, 1280, 720),
    ),
}
FAMILY = Generic()
