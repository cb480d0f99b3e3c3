"""Run the model itself: each modality alone, all together, one item twice; then generate.

That nothing crashes proves little (transformers accepts too few placeholders silently), so every
prompt's placeholders are compared with the rows that its encoders made, by count.
"""

from __future__ import annotations

import time
from typing import Any, Iterable, Sequence

from .facts import Emitter, Facts, Inapplicable, Unasked, describe, kind_of
from .families.base import Family
from .model import Subject, opened
from .samples import Sample
from .tokens import placeholders

NEW_TOKENS = 4
REAL_TOKENS = 16
"""Tokens to generate: with random weights they mean nothing, with real ones they are an answer."""
SHOWN = 16
DIGITS = 6
"""How many logits of the last position are recorded, and their decimals."""


def run(request: Facts, emit: Emitter) -> None:
    """Emit one item per prompt: counts, prompt length, whether logits are finite, new tokens.

    Raises Inapplicable for a model with which transformers cannot generate here.
    """
    emit(doing="loading the model's processor")
    with opened(request) as subject:
        family = subject.family
        emit(facts={"family": family.name, "processor": type(subject.processor).__name__})
        if subject.quantised:
            raise Inapplicable(
                f"the weights are quantised ({subject.quantised}): it is for the engine to compute "
                "with them, not for transformers"
            )
        if not family.generates():
            raise Inapplicable(f"{family.model_class} has no head that generates")
        emit(doing="building the model")
        model = subject.model
        size = sum(parameter.numel() for parameter in model.parameters())
        emit(
            facts={
                "model": type(model).__name__,
                "parameters": size,
                "random": not subject.weights,
                "identity": subject.identity(),
            }
        )
        for label, items in prompts(family):
            emit(doing=f"generating from {label}")
            emit(item=answer(subject, label, items))


def prompts(family: Family) -> list[tuple[str, list[Sample]]]:
    """Return (label, items) of every prompt to run: a model of text alone gets no items."""
    if not family.modalities:
        return [("text alone", [])]
    small = {name: _small(family, name) for name in family.modalities}
    known = list(small.values())
    found = [(f"{name} alone", [sample]) for name, sample in small.items()]
    if family.several:
        found += [(f"the same {name} twice", [sample, sample]) for name, sample in small.items()]
        if len(known) > 1 and family.together:
            found += [("all together", known), ("all together, reversed", known[::-1])]
    return found + [("sound inside a video", [sample]) for sample in family.sounding[:1]]


def answer(subject: Subject, label: str, items: Sequence[Sample]) -> Facts:
    """Return what one prompt yields; an exception becomes the item's ``error``."""
    started = time.monotonic()
    modalities = [part.modality for sample in items for part in sample.parts]
    item: Facts = {"label": label, "modalities": modalities}
    try:
        item.update(_answer(subject, items, dict.fromkeys(modalities)))
    except Exception as error:
        item["error"] = describe(error)
        item["error_kind"] = kind_of(error)
    item["seconds"] = round(time.monotonic() - started, 3)
    return item


def _answer(subject: Subject, items: Sequence[Sample], modalities: Iterable[str]) -> Facts:
    import torch

    family, model = subject.family, subject.model
    if len(items) == 1:
        inputs = family.take(subject.processor, items[0])
    else:
        arrays = [(sample.modality, sample.make()) for sample in items]
        inputs = family.call(subject.processor, arrays)
    inputs = subject.fitted(inputs)
    with torch.inference_mode():
        made, unasked = _rows(subject, modalities, inputs)
        logits = family.forward(model, inputs)
        count = REAL_TOKENS if subject.weights else NEW_TOKENS
        tokens, margins = family.generate(model, inputs, count)
    last = logits[0, -1].float()
    return {
        "prompt": family.length(inputs),
        "placeholders": {
            name: number
            for name, number in placeholders(subject, inputs).items()
            if name in made or (number and name in family.strangers([*made, *unasked]))
        },
        "embeddings": made,
        "unasked": unasked,
        "finite": bool(torch.isfinite(logits).all()),
        "dtype": str(next(model.parameters()).dtype),
        "positions": int(logits.shape[1]),
        "generated": tokens,
        "margins": [round(value, DIGITS) for value in margins],
        "logits": [round(value, DIGITS) for value in last[:SHOWN].tolist()],
        "spread": round(float(last.std()), DIGITS),
    }


def _rows(
    subject: Subject, modalities: Iterable[str], inputs: Any
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the rows that each encoder makes, and why others cannot be asked."""
    made: dict[str, int] = {}
    unasked: dict[str, str] = {}
    for name in modalities:
        try:
            made[name] = subject.family.features(subject.model, name, inputs)
        except Unasked as reason:
            unasked[name] = str(reason)
    return made, unasked


def _small(family: Family, modality: str) -> Sample:
    return next(sample for sample in family.samples(modality) if sample.role == "small")
