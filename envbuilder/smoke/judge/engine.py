"""Judge the serving engine: against itself, and against the processor that transformers runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from envbuilder.smoke.probe.samples import MODALITIES
from envbuilder.smoke.report import Check, CheckStatus

from . import jobs
from .finding import Fault, conclude, skipped, unproven

Facts = Mapping[str, Any]


def judge(document: Facts) -> list[Check]:
    """Return the checks of the engine's start-up, its counts, and its maxima under a limit."""
    job = jobs.named(document, "engine.vllm")
    if job is None:
        return []
    if job["outcome"] in {"absent", "inapplicable"}:
        return [skipped("engine.vllm", job["failure"]["message"], seconds=job["seconds"])]
    if unresolved(job) and jobs.named(document, "architecture") is not None:
        return []  # what it does not know, it cannot be asked about: the architecture is red
    checks = [_start(job), _counts(job, document)]
    tight = jobs.named(document, "engine.tight")
    return checks + ([_tight(tight)] if tight else [])


def unresolved(job: jobs.Job) -> bool:
    """Return whether vLLM stopped where it resolves the architecture."""
    return bool(job["outcome"] != "done" and job["facts"].get("resolved") == "")


def _start(job: jobs.Job) -> Check:
    """Judge what a server does first: reserve by declaration, then profile with its own dummy."""
    facts = {**job["facts"], "vllm": job["facts"].get("version")}
    declared, dummy = facts.get("declared"), facts.get("dummy") or {}
    findings = list(_refused(facts))
    findings += _without_dummy(facts, dummy) if "dummy" in facts else ()
    if facts.get("start_up"):
        findings.append(_assertion(facts))
    if declared is not None:
        findings += [*_undeclared(facts, declared), *_small_dummy(facts, dummy)]
    stopped = jobs.failure(job)
    if stopped:
        findings.append(replace(stopped, facts={**facts, **stopped.facts}))
    reserved = _listed(declared or dummy) if declared or dummy else ""
    return conclude(
        "engine.reserve",
        findings,
        good=(reserved, f"vLLM {facts.get('version')} reserves {reserved}, {_origin(facts)}"),
        seconds=job["seconds"],
        details={"declared": declared, "dummy": dummy, "declared_by": facts.get("declared_by")},
    )


def _origin(facts: Facts) -> str:
    if facts.get("declared") is None:
        return "as its own dummy input yields"
    dummy = facts.get("dummy") or {}
    beyond = any(number > facts["declared"].get(kind, number) for kind, number in dummy.items())
    covers = "that is all of its context" if beyond else "its dummy input yields no more"
    return f"declared by {facts['declared_by']}; {covers}"


def _assertion(facts: Facts) -> Fault:
    """Say which modality the start-up assertion is about: the one whose two numbers differ."""
    declared, dummy = facts.get("declared") or {}, facts.get("dummy") or {}
    differing = [kind for kind in dummy if declared.get(kind) != dummy[kind]]
    kind = differing[0] if differing else ""
    return Fault(
        kind="engine-startup",
        text=f"vLLM {facts['version']} would stop at start-up: {facts['start_up']}",
        expected=f"{kind} {declared.get(kind, '')}".strip(),
        actual=f"{kind} {dummy.get(kind, '')}".strip(),
        facts={**facts, "modality": kind, "message": facts["start_up"]},
    )


def _refused(facts: Facts) -> Iterator[Fault]:
    for kind in facts.get("refused", ()):
        yield Fault(
            kind="modality-refused",
            text=f"vLLM {facts['version']} takes no {kind} of this model, which transformers does: "
            "a request with one is refused",
            expected=f"{kind} taken",
            actual=f"{kind} refused",
            status=CheckStatus.UNPROVEN,
            facts={**facts, "modality": kind},
        )


def _without_dummy(facts: Facts, dummy: Mapping[str, int]) -> Iterator[Fault]:
    for kind in facts.get("modalities", ()):
        if kind not in dummy:
            yield Fault(
                kind="dummy-missing",
                text=f"vLLM {facts['version']} profiles with a dummy input ({_listed(dummy)}) that "
                f"has no {kind}, which the model takes: no memory is kept free for it",
                expected=f"{kind} in the dummy input",
                actual="none",
                facts={**facts, "modality": kind},
            )


def _undeclared(facts: Facts, declared: Mapping[str, int]) -> Iterator[Fault]:
    for kind in facts.get("modalities", ()):
        if kind not in declared:
            yield Fault(
                kind="declared-missing",
                text=f"vLLM {facts['version']} declares maxima ({_listed(declared)}) but none for "
                f"{kind}, which the model takes: its encoder budget leaves no room for it",
                expected=f"a maximum for {kind}",
                actual="none",
                facts={**facts, "modality": kind},
            )


def _small_dummy(facts: Facts, dummy: Mapping[str, int]) -> Iterator[Fault]:
    for kind, number in dummy.items():
        declared = _too_few(facts, kind, number)
        if declared is not None:
            yield Fault(
                kind="declared-too-few",
                text=f"vLLM {facts['version']} declares {declared} {kind} tokens per item, "
                f"its own dummy yields {number}",
                expected=f"at least {number}",
                actual=str(declared),
                facts={**facts, "modality": kind},
            )


def _too_few(facts: Facts, kind: str, number: int) -> int | None:
    """Return what is declared for ``kind`` if that is less than ``number`` tokens of an item.

    What is as long as the context is enough: no longer prompt can be served.
    """
    declared: int | None = (facts.get("declared") or {}).get(kind)
    if declared is None or number <= declared or declared >= facts.get("context", number):
        return None
    return declared


def _counts(job: jobs.Job, document: Facts) -> Check:
    """Judge what the engine makes of our samples against transformers' processor."""
    processor = {
        (item["modality"], item["label"]): item["placeholders"]
        for kind in MODALITIES
        for item in (jobs.named(document, f"tokens.{kind}") or {"items": ()})["items"]
        if "placeholders" in item
    }
    findings = [
        found
        for item in job["items"]
        for found in _item(job["facts"], item, processor.get((item["modality"], item["label"])))
    ]
    if not job["items"]:
        why = "vLLM counted no sample"
        return (
            unproven("engine.counts", why)
            if job["outcome"] == "done"
            else skipped("engine.counts", why)
        )
    compared = sum((item["modality"], item["label"]) in processor for item in job["items"])
    return conclude(
        "engine.counts",
        findings,
        good=(
            f"{len(job['items'])} samples agree",
            f"vLLM fills {len(job['items'])} samples as its ranges say, {compared} of them "
            "compared with transformers' processor",
        ),
        seconds=sum(item.get("seconds", 0.0) for item in job["items"]),
    )


def _item(facts: Facts, item: Facts, processor: int | None) -> Iterator[Fault]:
    what = f"{item['modality']} {item['label']}"
    known = {**facts, **item, "vllm": facts.get("version"), "message": item.get("error", "")}
    if "error" in item:
        yield Fault(
            kind="engine-error",
            text=f"vLLM cannot process {what}: {item['error']}",
            expected="counts",
            actual="an exception",
            facts=known,
        )
        return
    if item["tokens"] != item["embeds"]:
        yield Fault(
            kind="engine-ranges",
            text=f"{what}: vLLM's placeholder ranges hold {item['embeds']} embeddings, its prompt "
            f"{item['tokens']} placeholders",
            expected=str(item["tokens"]),
            actual=str(item["embeds"]),
            facts={**known, "difference": item["embeds"] - item["tokens"]},
        )
    if processor is not None and item["embeds"] != processor:
        yield Fault(
            kind="engine-processor",
            text=f"{what}: vLLM {facts['version']} makes {item['embeds']} placeholders, "
            f"transformers' own processor {processor}",
            expected=str(processor),
            actual=str(item["embeds"]),
            facts={**known, "difference": item["embeds"] - processor},
        )
    declared = _too_few(facts, item["modality"], item["embeds"])
    if declared is not None:
        yield _exceeds(known, item, declared, "")


def _tight(job: jobs.Job) -> Check:
    """Judge the maxima under a tightened limit on pixels: kept to, and still covering an item."""
    if job["outcome"] == "inapplicable":
        return skipped("engine.limit", job["failure"]["message"], seconds=job["seconds"])
    facts = {**job["facts"], "vllm": job["facts"].get("version")}
    findings = []
    for item in job["items"]:
        if "error" in item:
            findings += list(_item(facts, item, None))
        elif item["embeds"] > facts["limit"]:
            findings.append(_ignored({**facts, **item}, item))
        elif (declared := _too_few(facts, item["modality"], item["embeds"])) is not None:
            findings.append(_exceeds({**facts, **item}, item, declared, " under max_pixels"))
    stopped = jobs.failure(job)
    if stopped:
        findings.append(stopped)
    made = ", ".join(f"{item['modality']} {item.get('embeds')}" for item in job["items"])
    return conclude(
        "engine.limit",
        findings,
        good=(made, f"under a lower max_pixels items keep to it and to what is reserved ({made})"),
        seconds=job["seconds"],
        details={"declared": facts.get("declared")},
    )


def _exceeds(facts: Facts, item: Facts, declared: int, when: str) -> Fault:
    return Fault(
        kind="declared-too-few-limited" if when else "declared-too-few",
        text=f"{item['modality']} {item['label']}{when}: vLLM declares at most {declared} tokens "
        f"per item, this one yields {item['embeds']}",
        expected=f"at most {declared}",
        actual=str(item["embeds"]),
        status=CheckStatus.FAIL,
        facts=facts,
    )


def _ignored(facts: Facts, item: Facts) -> Fault:
    return Fault(
        kind="limit-ignored",
        text=f"{item['modality']} {item['label']}: max_pixels allows {facts['limit']} tokens, "
        f"vLLM {facts['vllm']} makes {item['embeds']}: the limit does not reach the processor",
        expected=f"at most {facts['limit']}",
        actual=str(item["embeds"]),
        facts=facts,
    )


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in numbers.items()) or "nothing"
