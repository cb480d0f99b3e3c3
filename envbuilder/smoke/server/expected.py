"""What a server should count, counted by the model's processor in an environment that has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from envbuilder.errors import SmokeError
from envbuilder.smoke.judge import jobs
from envbuilder.smoke.plan import SmokePlan
from envbuilder.smoke.run import Run, ask

from .media import ITEMS

Expectation = Mapping[tuple[str, str], int]
"""Placeholders by (modality, label) of an item."""


def expectation(run: Run, plan: SmokePlan) -> Expectation:
    """Count the placeholders of every item that ``plan.model`` takes.

    Raises SmokeError where the environment cannot count.
    """
    sent = tuple((item.modality, item.label, item.shape) for item in ITEMS)
    document = ask(run, replace(plan, checks=(), sent=sent))
    job = jobs.named(document, "sent")
    stopped = jobs.failure(job) if job else None
    if job is None or stopped is not None:
        raise SmokeError(
            f"what the server should count is not known: {stopped.text if stopped else 'no model'}",
            hint="name an environment with transformers, and a model: --local PYTHON --family NAME",
        )
    return {(item["modality"], item["label"]): item["placeholders"] for item in job["items"]}
