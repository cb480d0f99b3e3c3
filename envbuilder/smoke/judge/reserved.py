"""Judge what the spec states: the tokens that the engine reserves for one item of a modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envbuilder.smoke.plan import ProbedModel
from envbuilder.smoke.report import Check

from . import jobs
from .finding import Fault, conclude, unproven


def reserved(
    model: ProbedModel, document: Mapping[str, Any], modality: str, job: jobs.Job
) -> list[Check]:
    """Return the check ``tokens.MODALITY.reserved``, or none if the spec states no number.

    With an engine in the image, the statement must be what that engine reserves. Without, it must
    be what the processor yields for the family's maximum item: one more would be slots that no
    embedding fills (the seed's failure), one less an item that does not fit.
    """
    stated = model.tokens.get(modality)
    if stated is None:
        return []
    name = f"tokens.{modality}.reserved"
    item = next((one for one in job["items"] if one["role"] == "maximum"), None)
    if item is None or "placeholders" not in item:
        return [unproven(name, "the maximum item was not counted")]
    measured = item["placeholders"]
    engine = engine_reserves(document, modality)
    good = f"{item['label']} yields {measured} tokens"
    if engine is not None:
        good += f"; the engine reserves {engine}"
    finding = _compare(stated, measured, engine, item, job)
    return [
        conclude(
            name,
            [finding] if finding else [],
            good=(str(stated), good),
            details={"sample": item["label"], "measured": measured, "engine": engine},
        )
    ]


def engine_reserves(document: Mapping[str, Any], modality: str) -> int | None:
    """Return what vLLM declares for ``modality``, else what its dummy yields; None without it."""
    facts = (jobs.named(document, "engine.vllm") or {"facts": {}})["facts"]
    for source in ("declared", "dummy"):
        number = (facts.get(source) or {}).get(modality)
        if number is not None:
            return int(number)
    return None


def _compare(
    stated: int, measured: int, engine: int | None, item: Mapping[str, Any], job: jobs.Job
) -> Fault | None:
    """Return why ``stated`` cannot stand, or None if it can."""
    modality, sample = item["modality"], item["label"]
    processor = job["facts"].get("processor", "the processor")
    lifted = [
        one for one in job["facts"].get("lifted", ()) if one.get("placeholders", 0) > measured
    ]
    facts = {**job["facts"], **item, "stated": stated, "measured": measured, "engine": engine}
    if engine is not None:
        if stated == engine:
            return None
        kind = "stated-not-engine"
        text = f"the spec states {stated} {modality} tokens per item, the engine reserves {engine}"
        return Fault(kind=kind, text=text, expected=str(stated), actual=str(engine), facts=facts)
    if stated == measured:
        return None
    text = (
        f"{stated} {modality} tokens are reserved per item, but {processor} makes {measured} "
        f"of {sample}"
    )
    kind = "reserved-too-few" if stated < measured else "reserved-too-many"
    if any(one["placeholders"] == stated for one in lifted):
        kind = "reserved-uncapped"
        text += (
            f": {stated} is what it yields with its own cap on pixels lifted "
            f"({lifted[0]['how']}), {measured} is what it yields as it is called"
        )
    return Fault(kind=kind, text=text, expected=str(stated), actual=str(measured), facts=facts)
