"""The judge: from what the probe measured to a report. Pure; it runs nothing and reads no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envbuilder.smoke.plan import SmokePlan
from envbuilder.smoke.report import Check, CheckStatus, Report, TokenRow

from . import answers, caches, engine, environment, gpu, server, serving, start, tokens, whole
from .finding import WORST_FIRST


def judge(plan: SmokePlan, document: Mapping[str, Any], *, subject: str) -> Report:
    """Judge the probe's ``document`` by ``plan``; ``subject`` names what was smoked, for people."""
    checks = (
        *whole.judge(document),
        *environment.judge(plan, document),
        *caches.judge(document),
        *start.judge(document),
        *tokens.judge(plan, document),
        *answers.judge(plan, document),
        *engine.judge(document),
        *serving.judge(plan, document),
        *gpu.judge(plan, document),
    )
    table = tokens.rows(plan, document)
    verdict = overall(checks)
    return Report(
        subject=subject,
        verdict=verdict,
        summary=_summary(verdict, checks, table),
        checks=checks,
        tokens=table,
        environment=_environment(document),
        seconds=document["seconds"],
        peak_memory=document["peak_memory"],
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
        else _summary(verdict, checks, ()),
        checks=checks,
        tokens=server.rows(facts, expected),
        seconds=seconds,
    )


def overall(checks: Sequence[Check]) -> CheckStatus:
    """Return fail before error before unproven before pass; nothing checked at all is unproven."""
    found = {check.status for check in checks}
    order = (*WORST_FIRST, CheckStatus.PASS)
    return next((status for status in order if status in found), CheckStatus.UNPROVEN)


def _summary(verdict: CheckStatus, checks: Sequence[Check], table: Sequence[TokenRow]) -> str:
    if verdict is CheckStatus.PASS:
        passed = sum(check.status is CheckStatus.PASS for check in checks)
        maxima = [f"{row.modality} {row.placeholders}" for row in table if row.role == "maximum"]
        tokens_text = f"; tokens: {', '.join(maxima)}" if maxima else ""
        return f"known good: {passed} checks passed{tokens_text}"
    bad = [check for check in checks if check.status is verdict]
    if not bad:
        return "unproven: nothing was checked"
    told = f"{bad[0].name}: {bad[0].explanation}"
    if verdict is CheckStatus.UNPROVEN:
        return f"unproven: {len(bad)} of {len(checks)} checks could not be judged: {told}"
    word = "failed" if verdict is CheckStatus.FAIL else "came to no verdict"
    return f"{len(bad)} of {len(checks)} checks {word}: {told}"


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
