"""Any other model directory: what its own processor and its own feature functions say.

Placeholders are compared with encoder rows, and with a formula where :mod:`..formulas` knows one.
The counted id is the one that the model's configuration names (:mod:`._marks`); prompts are written
by its chat template, or by its processor's own marks (:mod:`._prompts`).
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, Iterable, Sequence

from .. import edges, films, formulas
from ..facts import Absent, Facts, Uncountable
from ..samples import Sample
from . import _marks, _prompts
from ._encoders import feature_method, rows
from ._model_files import read_json
from .base import Family, Modality


class Generic(Family):
    """A model that no file here describes; :meth:`bound` learns its modalities."""

    name = "generic"
    source = "the model's own files"
    processor: Any = None
    marks: dict[str, _marks.Mark] = {}
    stated: Facts = {}
    """What the processor's files say, flat."""
    known: Any = None
    """The module of :mod:`..formulas` that knows how this processor counts."""

    def of(self, directory: str) -> Family:
        """Return the family with what the processor's files in ``directory`` state."""
        family = copy.copy(self)
        family.stated = edges.processor_files(directory)
        return family

    def bound(self, processor: Any, directory: str) -> Family:
        """Return a family with the modalities that ``processor`` and ``config.json`` both know.

        Raises Absent if there are none; an encoder-decoder for sound is a family of its own.
        """
        config = self.load_config(directory)
        found, reasons = _marks.find(processor, config)
        if not found and _hears(processor, config):
            from ._speech_to_text import SpeechToText

            return SpeechToText().heard(config)
        if not found:
            why = "; ".join(reasons.values()) or "it names no image, video or audio token"
            raise Absent(f"{type(processor).__name__}: {why}")
        family = copy.copy(self)
        family.processor, family.marks, family.uncounted = processor, found, reasons
        family.known = formulas.of(processor)
        family.modalities = {kind: family.modality(kind, mark) for kind, mark in found.items()}
        for kind in found:
            family.follow(kind)
        family.together = len({mark.counted for mark in found.values()}) == len(found)
        return family

    def modality(self, kind: str, mark: _marks.Mark) -> Modality:
        """Return how ``kind`` appears to the processor and the model."""
        token = _marks.vocabulary(self.processor).convert_ids_to_tokens(mark.counted)
        return Modality(token, mark.text, _marks.ARGUMENTS[kind], f"get_{kind}_features")

    def follow(self, kind: str) -> None:
        """Count another id for ``kind`` if the processor repeats that one instead.

        A processor that fails here fails again, and says so, where its samples are counted.
        """
        mark, own = self.marks[kind], _marks.id_of(self.processor, self.marks[kind].text)
        if kind != "video" and own == mark.counted:
            return
        ids = self.tried(kind)
        if ids is None:
            return
        others = {"own": own if own is not None else -1}
        if kind == "video" and "image" in self.marks:
            others["image"] = self.marks["image"].counted
        mark.counted = _marks.repeated(Counter(ids), mark, others)
        if mark.counted == others.get("image"):
            mark.stated = None  # its frames are pictures: the model finds them at the image's id
        self.modalities[kind] = self.modality(kind, mark)

    def tried(self, kind: str) -> list[int] | None:
        """Return the prompt that one small item makes; None if the processor takes it in no form.

        Some ask for the items of each text in a list of its own, as a chat template hands them.
        """
        small = next(one for one in self.samples(kind) if one.role == "small")
        for nested in (self.nested - {kind}, self.nested | {kind}):
            before, self.nested = self.nested, nested
            try:
                ids: list[int] = self.take(self.processor, small)["input_ids"][0].tolist()
            except Exception:
                self.nested = before
            else:
                return ids
        return None

    # --- counting -------------------------------------------------------------------------

    def prompt(self, modalities: Sequence[str]) -> str:
        """Return a user's message with one item of each of ``modalities``, in order."""
        texts = {kind: mark.text for kind, mark in self.marks.items()}
        return _prompts.write(self.processor, texts, modalities)

    def token_id(self, modality: str, processor: Any) -> int:
        """Return the id that the processor repeats."""
        return self.marks[modality].counted

    def model_token_id(self, modality: str, directory: str) -> int | None:
        """Return the id that the configuration names."""
        return self.marks[modality].stated

    def strangers(self, modalities: Iterable[str]) -> list[str]:
        """Return the modalities whose id must not stand in a prompt of ``modalities``."""
        own = {self.marks[name].counted for name in modalities}
        return [name for name, mark in self.marks.items() if mark.counted not in own]

    def film_options(self, arrays: Sequence[Any]) -> Facts:
        """Return the arguments by which the processor takes every frame of a video."""
        separate = getattr(self.processor, "video_processor", None) is not None
        return films.options(list(arrays)) if separate else {}

    def load_model(self, directory: str, *, weights: bool) -> Any:
        """Load the model by the class that its config.json names.

        Raises Uncountable if it names none: what the model would insert cannot be asked then.
        """
        named = read_json(directory, "config.json").get("architectures") or []
        if not named:
            raise Uncountable("config.json names no architecture, so no encoder can be asked")
        self.model_class = named[0]
        return super().load_model(directory, weights=weights)

    def samples(self, modality: str) -> list[Sample]:
        """Return common sizes, and those where this processor's own values turn."""
        return edges.samples(modality, self.stated)

    def searched(self, modality: str) -> list[Sample]:
        """Return none: the samples are such already."""
        return []

    def formula(
        self, sample: Sample, inputs: Any, config: Any
    ) -> tuple[int | None, list[int] | None]:
        """Return what the known formula of this processor gives, if there is one."""
        grid = inputs.get(sample.modality + "_grid_thw")
        shown = None if grid is None else grid[0].tolist()
        if self.known is None:
            return None, shown
        return self.known.tokens(sample, self.stated, config), shown

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Return the rows that the encoder makes; a video of pictures is encoded as pictures."""
        name = self.modalities[modality].features
        shared = modality == "video" and self.shares("video", "image")
        if feature_method(model, name) is None and shared:
            name = self.modalities["image"].features
        encoded = self.encoded(model, name, inputs)
        return rows(encoded)

    def shares(self, one: str, other: str) -> bool:
        """Return whether two modalities are counted by one id."""
        return other in self.marks and self.marks[one].counted == self.marks[other].counted


def _hears(processor: Any, config: Any) -> bool:
    """Return whether the model decodes what its encoder hears, without placeholders."""
    decodes = bool(getattr(config, "is_encoder_decoder", False))
    return decodes and type(processor).__name__ == "WhisperProcessor"


FAMILY = Generic()
