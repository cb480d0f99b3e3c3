"""Count the tokens of one modality, item by item: formula, placeholders, embeddings.

Every number is counted where it arises. A processor's attributes are never read instead: they may
say 12845056 pixels while a default at call time caps the same video at 602112.
"""

from __future__ import annotations

import time
from typing import Any

from .decode import Undecodable, decode
from .facts import (
    UNASKED,
    Emitter,
    Facts,
    Inapplicable,
    Unasked,
    Uncountable,
    describe,
    kind_of,
)
from .model import Subject, opened
from .samples import Own, Sample

CAP_KNOBS = (
    {"max_pixels": 12845056},
    {"size": {"shortest_edge": 3136, "longest_edge": 12845056}},
)
"""Ways to lift a cap on pixels, by version of transformers: each may be ignored silently."""


def run(request: Facts, emit: Emitter, modality: str) -> None:
    """Emit one item per sample of ``modality``, and how its cap can be lifted."""
    emit(doing="loading the model's processor")
    with opened(request) as subject:
        family = subject.family
        if modality in family.uncounted:
            raise Uncountable(f"cannot be counted: {family.uncounted[modality]}")
        emit(facts={"counts": family.counts})
        if modality not in family.modalities:
            raise Inapplicable(f"{family.name} has no {modality}")
        emit(facts=facts_of(subject, modality))
        emit(doing="building the model")
        subject.build()
        chosen = family.samples(modality)
        inside = family.sounding if modality == "video" else ()
        for sample in (*chosen, *family.searched(modality), *inside):
            emit(doing=f"counting {modality} {sample.label}")
            for item in count(subject, sample):
                emit(item=item)
        for entry in request.get("samples", ()):
            if entry["modality"] == modality:
                emit(doing=f"counting {entry['label']}")
                emit(item=count_own(subject, entry))
        largest = [sample for sample in chosen if sample.role == "maximum"]
        if modality == "video" and largest and family.pixels_per_side:
            emit(doing="lifting the cap")
            emit(facts={"lifted": [lifted(subject, largest[0], knob) for knob in CAP_KNOBS]})


def facts_of(subject: Subject, modality: str) -> Facts:
    """Say which classes count here, and whether the placeholder is one token of the vocabulary."""
    import transformers

    token = subject.family.modalities[modality].token
    processor = subject.processor
    tokenizer = getattr(processor, "tokenizer", processor)
    return {
        "transformers": transformers.__version__,
        "family": subject.family.name,
        "processor": type(processor).__name__,
        "tokenizer": type(tokenizer).__name__,
        "degraded": not hasattr(processor, "tokenizer"),
        "token": token,
        "token_id": subject.family.token_id(modality, processor),
        "model_token_id": subject.family.model_token_id(modality, subject.directory),
        "token_splits_into": pieces(tokenizer, token) if subject.family.spelled else 1,
    }


def pieces(tokenizer: Any, token: str) -> int:
    """Return into how many ids the tokenizer splits ``token``; 1 where no token is counted."""
    return len(tokenizer(token, add_special_tokens=False)["input_ids"]) if token else 1


def count(subject: Subject, sample: Sample) -> list[Facts]:
    """Return the counts of ``sample``, for each modality in it; an exception becomes ``error``."""
    started = time.monotonic()
    items: list[Facts] = [
        {
            "modality": part.modality,
            "label": part.label,
            "role": part.role,
            "shape": list(part.shape),
        }
        for part in sample.parts
    ]
    found: Facts = {}
    try:
        inputs = subject.fitted(subject.family.take(subject.processor, sample))
        for number, part in enumerate(sample.parts):
            items[number].update(_counts(subject, sample, part, inputs))
    except Exception as error:
        found = {"error": describe(error), "error_kind": kind_of(error)}
    found["seconds"] = round(time.monotonic() - started, 3)
    return [{**item, **found} for item in items]


def count_own(subject: Subject, entry: Facts) -> Facts:
    """Return the counts of the user's file that ``entry`` of the request names."""
    modality, label = entry["modality"], entry["label"]
    try:
        sample = Own(modality, label, decode(modality, entry["path"]))
    except Exception as error:
        item: Facts = {"modality": modality, "label": label, "role": "own", "shape": []}
        kind = "undecodable" if isinstance(error, Undecodable) else kind_of(error)
        return {**item, "error": describe(error), "error_kind": kind, "seconds": 0.0}
    (item,) = count(subject, sample)
    return item


def _counts(subject: Subject, sample: Sample, part: Sample, inputs: Any) -> Facts:
    """Return the counts of one modality of ``sample``, which the processor made ``inputs`` of."""
    import torch

    family, modality = subject.family, part.modality
    known = None not in family.settings.values()
    expected, grid = family.formula(part, inputs, subject.model.config) if known else (None, None)
    counted = placeholders(subject, inputs)
    strangers = subject.family.strangers(one.modality for one in sample.parts)
    found: Facts = {
        "formula": expected,
        "placeholders": counted[modality],
        "strays": {name: counted[name] for name in strangers if counted[name]},
        "prompt": family.length(inputs),
        "grid": grid,
    }
    if expected not in (None, found["placeholders"]) and len(part.shape) > 1:
        turned = Sample(modality, part.role, (*part.shape[:-2], *part.shape[:-3:-1]))
        found["turned"] = family.formula(turned, inputs, subject.model.config)[0]
    if max(expected or 0, found["placeholders"]) > family.encoder_limit:
        return {**found, "embeddings": None, "note": "above the encoder's limit, not encoded"}
    try:
        with torch.inference_mode():
            return {**found, "embeddings": family.features(subject.model, modality, inputs)}
    except Unasked as reason:
        return {**found, "embeddings": None, "note": UNASKED + str(reason)}


def placeholders(subject: Subject, inputs: Any) -> dict[str, int]:
    """Count, per modality, how often its token id stands in the prompt."""
    return subject.family.counted(subject.processor, inputs)


def lifted(subject: Subject, sample: Sample, knob: Facts) -> Facts:
    """Return the placeholders of ``sample`` when ``knob`` asks for more pixels than the cap."""
    attempt: Facts = {"how": ", ".join(f"{name}={value}" for name, value in knob.items())}
    try:
        inputs = subject.family.call(
            subject.processor, [(sample.modality, sample.make())], videos_kwargs=knob
        )
        attempt["placeholders"] = placeholders(subject, inputs)[sample.modality]
    except Exception as error:
        attempt["error"] = describe(error)
    return attempt
