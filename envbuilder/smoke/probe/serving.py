"""Start the real engine on the model and send it requests, where the machine lets it serve.

A CPU build of vLLM serves anywhere; a CUDA build needs a GPU. The engine itself says which it is.
Tiny models get the engine's own dummy weights: prompt lengths do not depend on weights.
"""

from __future__ import annotations

import os
import time
from typing import Any, Sequence

from .facts import Emitter, Facts, Inapplicable, describe, kind_of
from .model import Subject, opened
from .samples import Sample
from .tokens import placeholders
from .vllm import context, handed, require_vllm

NEW_TOKENS = 4
SMALLEST_BLOCK = 16
"""Tokens in a block of vLLM's key-value cache, at least: so many blocks hold the context."""
SMALL_SHARE = 0.2
"""Of the memory, for an engine that serves a tiny model on a CPU."""
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: a failure comes with its reason
    "VLLM_HOST_IP": "127.0.0.1",  # a container has no network but loopback
    "GLOO_SOCKET_IFNAME": "lo",
}


def run(request: Facts, emit: Emitter) -> None:
    """Emit one item per prompt, up to one that fails: its length, as two parties count it."""
    emit(facts={"version": require_vllm()})
    os.environ.update(ENVIRONMENT)
    emit(doing="importing vLLM")
    with opened(request) as subject:
        if subject.family.counts != "placeholders":
            raise Inapplicable(f"the engine is not asked to serve: {subject.family.counts}")
        device = device_type()
        emit(facts={"device": device})
        _require_place(device, request["gpu"])
        emit(doing="starting the engine")
        started = time.monotonic()
        engine = start(subject, device)
        emit(facts={"started": round(time.monotonic() - started, 3)})
        for label, modalities in prompts(subject):
            emit(doing=f"answering {label}")
            item = answer(engine, subject, label, modalities)
            emit(item=item)
            if "error" in item:  # vLLM keeps the failed request, and would never come to the next
                break


def share(device: str, *, tiny: bool) -> Facts:
    """Return what part of the memory the engine may take, where its default would not do.

    vLLM's CPU build calls the host's memory the GPU's, wants 92 % of it, and starts with no less
    free; the cache of a tiny model fits into a gigabyte.
    """
    if device != "cpu":
        return {}
    if tiny:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        return {"gpu_memory_utilization": SMALL_SHARE}
    pages = {name: os.sysconf(name) for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES")}
    free = pages["SC_AVPHYS_PAGES"] / pages["SC_PHYS_PAGES"]
    return {"gpu_memory_utilization": round(max(SMALL_SHARE, 0.9 * free), 2)}


def device_type() -> str:
    """Return what the installed build of vLLM computes on here; "" where it finds nothing."""
    from vllm.platforms import current_platform

    return str(current_platform.device_type or "")


def start(subject: Subject, device: str) -> Any:
    """Return vLLM's engine, ready to answer; it profiles the largest items first, as a server."""
    from vllm import LLM

    length = context(subject.family.load_config(subject.directory))
    tiny: Facts = {}
    if not subject.weights:
        tiny = {
            "load_format": "dummy",
            "dtype": "float32" if device == "cpu" else "half",
            "num_gpu_blocks_override": length // SMALLEST_BLOCK,
        }
    return LLM(
        model=subject.directory,
        max_model_len=length,
        max_num_seqs=1,
        limit_mm_per_prompt=dict.fromkeys(subject.family.modalities, 1),
        enforce_eager=True,
        seed=0,
        **share(device, tiny=bool(tiny)),
        **tiny,
    )


def prompts(subject: Subject) -> list[tuple[str, list[str]]]:
    """Return (label, modalities) of every request: each modality alone, then all together."""
    known = list(subject.family.modalities)
    alone = [(f"{name} alone", [name]) for name in known]
    family = subject.family
    together = len(known) > 1 and family.several and family.together
    return alone + ([("all together", known)] if together else [])


def answer(engine: Any, subject: Subject, label: str, modalities: Sequence[str]) -> Facts:
    """Return what one request yields; an exception becomes the item's ``error``."""
    started = time.monotonic()
    item: Facts = {"label": label, "modalities": list(modalities)}
    try:
        item.update(_answer(engine, subject, modalities))
    except Exception as error:
        item["error"] = describe(error)
        item["error_kind"] = kind_of(error)
    item["seconds"] = round(time.monotonic() - started, 3)
    return item


def _answer(engine: Any, subject: Subject, modalities: Sequence[str]) -> Facts:
    from vllm import SamplingParams

    family = subject.family
    chosen = {name: _small(subject, name) for name in modalities}
    inputs = family.call(subject.processor, [(name, one.make()) for name, one in chosen.items()])
    counted = placeholders(subject, inputs)
    data = {name: [family.engine_item(one)] for name, one in chosen.items()}
    request = {
        "prompt": family.prompt(modalities),
        "multi_modal_data": _in_form(engine, data),
    }
    greedy = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True)
    (output,) = engine.generate(request, greedy, use_tqdm=False)
    ids = list(output.prompt_token_ids)
    return {
        "samples": {name: one.label for name, one in chosen.items()},
        "expected": family.length(inputs),
        "prompt": len(ids),
        "expected_tokens": {name: counted[name] for name in modalities},
        "tokens": {
            name: ids.count(family.token_id(name, subject.processor)) for name in modalities
        },
        "generated": list(output.outputs[0].token_ids),
    }


def _in_form(engine: Any, data: Facts) -> Facts:
    """Return ``data`` in the form that the parser of the engine's own processor asks for."""
    if "video" not in data:
        return data
    from vllm.multimodal import MULTIMODAL_REGISTRY

    config = getattr(engine, "model_config", None) or engine.llm_engine.model_config
    return handed(MULTIMODAL_REGISTRY.create_processor(config), data)


def _require_place(device: str, gpu: str) -> None:
    """Raise Inapplicable where this build of the engine cannot, or shall not, serve."""
    if not device:
        raise Inapplicable(
            "this build of vLLM needs a GPU to serve and finds none; asked only for its maxima"
        )
    if device != "cpu" and gpu == "never":
        raise Inapplicable(f"this build of vLLM serves on {device}, and no GPU shall be used")


def _small(subject: Subject, modality: str) -> Sample:
    return next(one for one in subject.family.samples(modality) if one.role == "small")
