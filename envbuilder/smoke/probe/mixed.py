"""Run the model itself: each modality alone, all together, one item twice; then generate.

That nothing crashes proves little (transformers accepts too few placeholders silently), so every
prompt's placeholders are compared with the rows that its encoders made, by count.
"""

from __future__ import annotations

import time
from typing import Sequence

from .facts import Emitter, Facts, describe, kind_of
from .families.base import Family
from .model import Subject, opened
from .samples import Sample
from .tokens import placeholders

NEW_TOKENS = 4
DIGITS = 3
"""Decimals of the logits that are recorded: CPU kernels agree on those between machines."""


def run(request: Facts, emit: Emitter) -> None:
    """Emit one item per prompt: counts, prompt length, whether logits are finite, new tokens."""
    emit(doing="loading the model's processor")
    with opened(request) as subject:
        family = subject.family
        emit(facts={"family": family.name, "processor": type(subject.processor).__name__})
        emit(doing="building the model")
        model = subject.model
        size = sum(parameter.numel() for parameter in model.parameters())
        emit(
            facts={"model": type(model).__name__, "parameters": size, "random": not subject.weights}
        )
        for label, modalities in prompts(family):
            emit(doing=f"generating from {label}")
            emit(item=answer(subject, label, modalities))


def prompts(family: Family) -> list[tuple[str, list[str]]]:
    """Return (label, modalities) of every prompt to run."""
    known = list(family.modalities)
    alone = [(f"{name} alone", [name]) for name in known]
    twice = [(f"the same {name} twice", [name, name]) for name in known if family.several]
    together = [("all together", known), ("all together, reversed", known[::-1])]
    return alone + twice + (together if len(known) > 1 and family.several else [])


def answer(subject: Subject, label: str, modalities: Sequence[str]) -> Facts:
    """Return what one prompt yields; an exception becomes the item's ``error``."""
    started = time.monotonic()
    item: Facts = {"label": label, "modalities": list(modalities)}
    try:
        item.update(_answer(subject, modalities))
    except Exception as error:
        item["error"] = describe(error)
        item["error_kind"] = kind_of(error)
    item["seconds"] = round(time.monotonic() - started, 3)
    return item


def _answer(subject: Subject, modalities: Sequence[str]) -> Facts:
    import torch

    family, model = subject.family, subject.model
    small = {name: _small(family, name) for name in modalities}
    inputs = family.call(subject.processor, [(name, small[name].make()) for name in modalities])
    with torch.inference_mode():
        made = {name: family.features(model, name, inputs) for name in small}
        logits = family.forward(model, inputs)
        output = family.generate(model, inputs, NEW_TOKENS)
    length = int(inputs["input_ids"].shape[-1])
    return {
        "prompt": length,
        "placeholders": {
            name: number for name, number in placeholders(subject, inputs).items() if number
        },
        "embeddings": made,
        "finite": bool(torch.isfinite(logits).all()),
        "dtype": str(logits.dtype),
        "positions": int(logits.shape[1]),
        "generated": output[0, length:].tolist(),
        "logits": [round(value, DIGITS) for value in logits[0, -1, :16].float().tolist()],
    }


def _small(family: Family, modality: str) -> Sample:
    return next(sample for sample in family.samples(modality) if sample.role == "small")
