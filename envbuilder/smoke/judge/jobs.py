"""The probe's document: find a job in it, and say how a job ended that did not finish."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from envbuilder.smoke.probe.job import parted
from envbuilder.smoke.report import CheckStatus

from .finding import Fault

Job = Mapping[str, Any]
OF_MODELS = ("architecture", "engine.", "sent", "tokens.")
"""How the names of jobs begin that there is one of for each model."""
_STATUS = {
    "absent": CheckStatus.FAIL,
    "inapplicable": CheckStatus.FAIL,
    "uncountable": CheckStatus.UNPROVEN,
}


def named(document: Mapping[str, Any], name: str) -> Job | None:
    """Return the job called ``name``, or None if it was not asked for."""
    return next((job for job in document.get("jobs", ()) if job["name"] == name), None)


def of_model(document: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Return ``document`` as it would be if the model ``number`` were the only one."""
    own = []
    for job in document["jobs"]:
        name, belongs = parted(job["name"])
        if belongs == number or not name.startswith(OF_MODELS):
            own.append({**job, "name": name})
    return {**document, "jobs": own}


def starting(document: Mapping[str, Any], prefix: str) -> list[Job]:
    """Return the jobs whose names start with ``prefix``."""
    return [job for job in document.get("jobs", ()) if job["name"].startswith(prefix)]


def failure(job: Job) -> Fault | None:
    """Return what stopped ``job``, or None if it ended by itself.

    "absent" (a library, a class or a file that it needs is missing) and "inapplicable" (the model
    has no such thing) are failures: the plan asked for the job. Crash, time limit, memory and
    exceptions are errors: no verdict was reached. So are "malformed" (it reported what does not
    fit) and "missing". "uncountable" leaves unproven what was asked for.
    """
    outcome = job["outcome"]
    if outcome == "done":
        return None
    doing = f" while {job['doing']}" if job.get("doing") else ""
    message = (job.get("failure") or {}).get("message", "")
    text = {
        "absent": message,
        "inapplicable": message,
        "uncountable": message,
        "malformed": message,
        "missing": message,
        "error": f"{message}{doing}",
        "timeout": f"killed after {job['seconds']:.0f} s{doing}: the time limit"
        if job["seconds"]
        else "not started: the other checks took all of the time limit",
        "memory": f"out of memory{doing}" + (f": {message}" if message else ""),
        "crashed": f"the process ended with {_ending(job)}{doing}",
    }.get(outcome, f"{outcome}: {message}")
    return Fault(
        kind=f"job-{outcome}",
        text=text,
        expected="a result",
        actual=outcome,
        status=_STATUS.get(outcome, CheckStatus.ERROR),
        facts={"message": f"{message}\n{job.get('output', '')}", "job": job["name"]},
    )


def nothing_counted(job: Job) -> Fault | None:
    """Return a finding if ``job`` ended by itself without any item: green would say nothing."""
    if job["items"] or job["outcome"] != "done":
        return None
    return Fault(
        kind="nothing-counted",
        text="nothing was counted",
        expected="at least one sample",
        actual="none",
        status=CheckStatus.ERROR,
    )


def _ending(job: Job) -> str:
    code = job.get("exit_code")
    if isinstance(code, int) and code < 0:
        known = {one.value: one.name for one in signal.Signals}  # the real-time ones lack names
        return known.get(-code, f"signal {-code}")
    return f"exit code {code} and no result"
