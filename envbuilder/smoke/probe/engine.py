"""Ask the serving engine what it expects: maxima, its dummy input, and the counts of our samples.

A disagreement here is the failure at start-up of a real server, found without renting a GPU.
"""

from __future__ import annotations

import time
from typing import Sequence

from .facts import Emitter, Facts, Inapplicable, describe, kind_of
from .model import Subject, opened
from .samples import Sample
from .vllm import Vllm, architecture, context, model_config, require_vllm

TIGHT = {"max_pixels": 616 * 616}
"""A limit on pixels as a server sets it: 484 tokens of 28 by 28 px."""
TIGHT_SIDE = 1120
"""Side (px) of the items that exceed that limit."""


def run(request: Facts, emit: Emitter, mode: str) -> None:
    """Compare vLLM with itself and with our samples, as it starts or (``tight``) under a limit."""
    emit(facts={"version": require_vllm()})
    emit(doing="importing vLLM")
    with opened(request) as subject:
        if mode == "tight":
            emit(facts={"limit": _limit(subject)})
        family = subject.family
        limits = dict.fromkeys(family.modalities, 1)
        arguments = {**family.engine_arguments}
        if mode == "tight":
            arguments["mm_processor_kwargs"] = TIGHT
        length = context(family.load_config(subject.directory))
        emit(doing="resolving the architecture", facts={"resolved": ""})
        config = model_config(subject.directory, limits, arguments, length)
        emit(facts={"resolved": architecture(config)})
        if not family.modalities:
            raise Inapplicable(f"vLLM reserves {family.counts}")
        emit(doing="creating vLLM's processor", facts={"context": length})
        engine = Vllm(config, limits, length)
        refused = engine.refused()
        taken = [kind for kind in limits if kind not in refused]
        processor = type(engine.processor).__name__
        emit(facts={"processor": processor, "modalities": taken, "refused": refused})
        emit(doing="asking for the declared maxima")
        declared, by = engine.declared()
        emit(facts={"declared": declared, "declared_by": by})
        if mode != "tight":
            _at_start(engine, emit)
        for sample in _samples(subject, mode, taken):
            emit(doing=f"counting {sample.modality} {sample.label}")
            emit(item=_count(engine, subject, sample))


def _at_start(engine: Vllm, emit: Emitter) -> None:
    """Emit what vLLM itself would compare, or assert, when a server starts."""
    emit(doing="processing vLLM's own dummy input")
    emit(facts={"dummy": engine.dummy()})
    emit(doing="running vLLM's start-up assertion")
    emit(facts={"start_up": engine.start_up()})


def _samples(subject: Subject, mode: str, taken: Sequence[str]) -> list[Sample]:
    """Return what to count of the modalities that are ``taken``.

    It is every sample within the supported lengths, or two that are too big.
    """
    family = subject.family
    if mode == "tight":
        side = TIGHT_SIDE
        shapes = {"image": (side, side), "video": (2, side, side)}
        wanted = [kind for kind in shapes if kind in taken]
        return [Sample(kind, "beyond", shapes[kind]) for kind in wanted]
    known = [sample for kind in taken for sample in family.samples(kind)]
    return [sample for sample in known if sample.role != "beyond"]


def _limit(subject: Subject) -> int:
    """Return the most tokens that one image, or one step in time, may have below ``TIGHT``."""
    side = subject.family.pixels_per_side
    if side is None:
        raise Inapplicable(f"{subject.family.name} knows no limit on pixels")
    return TIGHT["max_pixels"] // side**2


def _count(engine: Vllm, subject: Subject, sample: Sample) -> Facts:
    started = time.monotonic()
    family, kind = subject.family, sample.modality
    item: Facts = {"modality": kind, "label": sample.label, "role": sample.role}
    ids = {name: family.token_id(name, subject.processor) for name in family.modalities}
    try:
        prompt = family.engine_prompt(subject.processor, sample)
        found = engine.counts(prompt, {kind: [family.engine_item(sample)]}, ids)
        if kind not in found:
            raise ValueError(f"vLLM marks no {kind} in the prompt, only {sorted(found)}")
        item.update(found[kind])
    except Exception as error:
        item["error"] = describe(error)
        item["error_kind"] = kind_of(error)
    item["seconds"] = round(time.monotonic() - started, 3)
    return item
