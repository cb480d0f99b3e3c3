"""Judge the engine at work: the prompt that it really served against the processor's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from envbuilder.smoke.plan import SmokePlan
from envbuilder.smoke.report import Check

from . import jobs
from .finding import Fault, conclude, skipped

Facts = Mapping[str, Any]


def judge(plan: SmokePlan, document: Facts) -> list[Check]:
    """Return the check ``engine.run``, or none if no engine is installed.

    An engine that needs a GPU and has none is skipped, unless the plan requires the GPU.
    """
    job = jobs.named(document, "engine.run")
    if job is None or job["outcome"] == "absent":
        return []
    if job["outcome"] == "inapplicable" and plan.gpu != "required":
        return [skipped("engine.run", job["failure"]["message"], seconds=job["seconds"])]
    facts = {**job["facts"], "vllm": job["facts"].get("version")}
    findings = [found for item in job["items"] for found in _answer(facts, item)]
    stopped = jobs.failure(job)
    if stopped:
        findings.insert(0, stopped)
    served = ", ".join(f"{item['label']} {item.get('prompt')}" for item in job["items"])
    return [
        conclude(
            "engine.run",
            findings,
            good=(
                served,
                f"vLLM {facts['vllm']} serves on {facts.get('device')}; its prompts are as long as "
                f"the processor's ({served} tokens)",
            ),
            seconds=job["seconds"],
            details={"facts": job["facts"], "prompts": job["items"]},
        )
    ]


def _answer(facts: Facts, item: Facts) -> Iterator[Fault]:
    """Yield what is wrong with one answered request."""
    known = {**facts, **item, "message": item.get("error", "")}
    if "error" in item:
        yield Fault(
            kind="engine-error",
            text=f"vLLM {facts['vllm']} cannot answer {item['label']}: {item['error']}",
            expected="an answer",
            actual="an exception",
            facts=known,
        )
        return
    for modality, expected in item["expected_tokens"].items():
        found = item["tokens"][modality]
        if found != expected:
            yield Fault(
                kind="engine-processor",
                text=f"{item['label']}: vLLM {facts['vllm']} served {found} {modality} tokens of "
                f"{item['samples'][modality]}, transformers' own processor makes {expected}",
                expected=str(expected),
                actual=str(found),
                facts={**known, "modality": modality, "difference": found - expected},
            )
    if item["tokens"] == item["expected_tokens"] and item["prompt"] != item["expected"]:
        yield Fault(
            kind="engine-prompt",
            text=f"{item['label']}: vLLM {facts['vllm']} served a prompt of {item['prompt']} "
            f"tokens, the processor makes {item['expected']} of the same text and items",
            expected=str(item["expected"]),
            actual=str(item["prompt"]),
            facts={**known, "difference": item["prompt"] - item["expected"]},
        )
    if not item["generated"]:
        yield Fault(
            kind="engine-silent",
            text=f"{item['label']}: vLLM {facts['vllm']} generated nothing",
            expected="tokens",
            actual="none",
            facts=known,
        )
