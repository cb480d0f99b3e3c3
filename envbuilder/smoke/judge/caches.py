"""Judge what installers left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envbuilder.smoke.report import Check

from . import jobs
from .finding import Fault, conclude


def judge(document: Mapping[str, Any]) -> list[Check]:
    """Return the check of caches: no leftover of any installer, no bytecode of another source."""
    job = jobs.named(document, "caches")
    if job is None:
        return []
    stopped = jobs.failure(job)
    leftovers = [
        Fault(
            kind="cache-left",
            text=f"{item['tool']} left {item['bytes']} bytes in {item['path']}",
            expected="no caches",
            actual=f"{sum(one['bytes'] for one in job['items'])} bytes",
            facts={"tool": item["tool"]},
        )
        for item in job["items"]
    ]
    stale = [
        Fault(
            kind="bytecode-stale",
            text=f"{path} was compiled from another source than the one beside it",
            expected="bytecode of the installed source",
            actual="stale bytecode",
        )
        for path in job["facts"].get("stale_bytecode", ())
    ]
    findings = [*leftovers, *stale, *([stopped] if stopped else [])]
    return [
        conclude(
            "caches",
            findings,
            good=("no caches", _clean(job["facts"])),
            seconds=job["seconds"],
            details={"left": job["items"]},
        )
    ]


def _clean(facts: Mapping[str, Any]) -> str:
    """Say how far the check looked: on a shared machine the caches outside are not the image's."""
    where = facts.get("looked_in", "/")
    inside = "" if where == "/" else f" in {where}, and this machine's own caches do not count"
    return f"nothing of pip, uv, apt, conda or Hugging Face is left{inside}"
