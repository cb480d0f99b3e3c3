"""The judge: from what the probe measured to a report. Pure; it runs nothing and reads no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from envbuilder.smoke.plan import SmokePlan
from envbuilder.smoke.report import Check, CheckStatus, ModelVerdict, Report, TokenRow

from . import (
    answers,
    architecture,
    caches,
    engine,
    environment,
    gpu,
    jobs,
    served,
    server,
    serving,
    start,
    tokens,
    whole,
)
from .finding import skipped, unproven
from .verdict import overall, summary


def judge(plan: SmokePlan, document: Mapping[str, Any], *, subject: str) -> Report:
    """Judge the probe's ``document`` by ``plan``; ``subject`` names what was smoked, for people."""
    by_model = _by_model(plan, document)
    checks = (
        *whole.judge(document),
        *environment.judge(plan, document),
        *caches.judge(document),
        *start.judge(document),
        *served.judge(document),
        *(check for own, _ in by_model.values() for check in own),
        *([_no_model(plan)] if "tokens" in plan.checks and not plan.models else []),
        *gpu.judge(plan, document),
    )
    table = tuple(row for _, rows in by_model.values() for row in rows)
    verdict = overall(checks)
    models = tuple(_verdict(name, *found) for name, found in by_model.items())
    return Report(
        subject=subject,
        verdict=verdict,
        summary=summary(verdict, checks, table, models),
        checks=checks,
        tokens=table,
        models=models,
        environment=_environment(document),
        seconds=document["seconds"],
        peak_memory=document["peak_memory"],
        touched=document.get("touched"),
    )


def judge_server(
    facts: Mapping[str, Any], expected: server.Counts | None, *, seconds: float
) -> Report:
    """Judge what a running server counted by what the processor made of the same items.

    ``expected`` is None if nobody counted them.
    """
    checks = server.judge(facts, expected)
    verdict = overall(checks)
    return Report(
        subject=f"{facts['model']} at {facts['url']}",
        verdict=verdict,
        summary=_server_summary(checks, compared=expected is not None)
        if verdict is CheckStatus.PASS
        else summary(verdict, checks, ()),
        checks=checks,
        tokens=server.rows(facts, expected),
        seconds=seconds,
    )


def _by_model(
    plan: SmokePlan, document: Mapping[str, Any]
) -> dict[str, tuple[list[Check], tuple[TokenRow, ...]]]:
    """Judge each model as if it were the only one; a sample is asked of those that can take it."""
    own = [jobs.of_model(document, number) for number in range(len(plan.models))]
    homeless = {one.modality for one in plan.samples} - {
        kind for each in own for kind in tokens.taken(each)
    }
    found = {}
    for model, part in zip(plan.models, own, strict=True):
        name = str(model)
        checks = [
            *architecture.judge(part),
            *tokens.judge(model, part, asked=homeless),
            *answers.judge(model, part),
            *engine.judge(part),
            *serving.judge(plan, part),
        ]
        found[name] = (
            [replace(check, model=name) for check in checks],
            tuple(replace(row, model=name) for row in tokens.rows(model, part)),
        )
    return found


def _verdict(name: str, checks: Sequence[Check], rows: Sequence[TokenRow]) -> ModelVerdict:
    verdict = overall(checks)
    return ModelVerdict(name=name, verdict=verdict, summary=summary(verdict, checks, rows))


def _no_model(plan: SmokePlan) -> Check:
    why = "the spec names no smoke.model to count with"
    if plan.samples:
        return unproven("tokens", f"{why}, so its samples were not counted")
    return skipped("tokens", why)


def _server_summary(checks: Sequence[Check], *, compared: bool) -> str:
    """Say that a server is green, and never more than was compared."""
    passed = sum(check.status is CheckStatus.PASS for check in checks)
    if compared:
        return f"counts as the processor does: {passed} checks passed"
    return f"agrees with itself ({passed} checks), compared with nothing: give NAME or --local"


def _environment(document: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what was smoked: the machine, its GPU if there is one, and the active packages."""
    facts = {job["name"]: job for job in document["jobs"]}
    found = facts["environment"]["facts"].get("distributions", ()) if "environment" in facts else ()
    devices = facts["gpu"]["items"] if "gpu" in facts else ()
    machine = {key: document[key] for key in ("python", "machine", "libc", "cores")}
    if devices:
        names = ", ".join(device["name"] for device in devices)
        machine["gpu"] = {"name": names, "driver": facts["gpu"]["facts"].get("driver") or ""}
    packages = {entry["name"]: entry["version"] for entry in found if entry["active"]}
    return {**machine, "packages": packages}
