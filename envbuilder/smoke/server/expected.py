"""What a server should count, counted by the model's processor in an environment that has it."""

from __future__ import annotations

from dataclasses import replace

from envbuilder.model.errors import SmokeError
from envbuilder.smoke.judge import jobs
from envbuilder.smoke.judge.server import Counted, Counts
from envbuilder.smoke.media import ITEMS
from envbuilder.smoke.plan import SmokePlan
from envbuilder.smoke.run_probe import Run, ask


def expectation(run: Run, plan: SmokePlan) -> Counts:
    """Count the tokens of every item that the first of the plan's models takes.

    Some processors write text beside a video's frames: Qwen3-VL a time stamp, InternVL a number.
    How long it is only the model's own tokenizer tells, so a tiny model's is not compared with.
    Raises SmokeError if the environment cannot count, or the model has nothing that is counted.
    """
    sent = tuple((item.modality, item.label, item.shape) for item in ITEMS)
    document = ask(run, replace(plan, checks=(), sent=sent))
    job = jobs.named(document, "sent")
    stopped = jobs.failure(job) if job else None
    if stopped is not None and stopped.actual == "inapplicable":
        raise SmokeError(
            stopped.text, hint="without NAME and --local the server is compared with itself"
        )
    if job is None or stopped is not None:
        raise SmokeError(
            f"what the server should count is not known: {stopped.text if stopped else 'no model'}",
            hint="name an environment with transformers, and a model: --local PYTHON --family NAME",
        )
    counted = {(item["modality"], item["label"]) for item in job["items"]}
    kinds = {modality for modality, _ in counted}
    if lacking := [
        item.label
        for item in ITEMS
        if item.modality in kinds and (item.modality, item.label) not in counted
    ]:
        raise SmokeError(
            f"what the server should count is not known: {', '.join(lacking)} was not counted"
        )
    beside: dict[str, set[int]] = {}
    for item in job["items"]:
        beside.setdefault(item["modality"], set()).add(item["added"] - item["placeholders"])
    return {
        (item["modality"], item["label"]): Counted(
            placeholders=item["placeholders"],
            added=item["added"]
            if job["facts"]["real"] or len(beside[item["modality"]]) == 1
            else None,
        )
        for item in job["items"]
    }
