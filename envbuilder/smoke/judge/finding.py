"""One thing that is wrong, before it is a check: what kind, in words, and the facts behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from envbuilder.smoke.causes import likely_cause
from envbuilder.smoke.report import Check, CheckStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A disagreement of ``kind`` (the cause book's vocabulary) between ``expected`` and ``actual``.

    ``facts`` holds what a cause may ask for: modality, family, versions, both numbers, a message.
    """

    kind: str
    text: str
    expected: str = ""
    actual: str = ""
    status: CheckStatus = CheckStatus.FAIL
    facts: Mapping[str, Any] = field(default_factory=dict)


def conclude(
    name: str,
    findings: Sequence[Fault],
    *,
    good: tuple[str, str],
    seconds: float = 0.0,
    details: Mapping[str, Any] | None = None,
) -> Check:
    """Turn ``findings`` into one check; none means pass, with ``good`` as (actual, explanation).

    A failure outranks an error. The first finding of the worst status gives the check its numbers,
    the first with a known cause gives it the cause, and all of them are listed in the details.
    """
    if not findings:
        actual, explanation = good
        return Check(
            name=name,
            status=CheckStatus.PASS,
            expected=actual,
            actual=actual,
            explanation=explanation,
            seconds=seconds,
            details=details or {},
        )
    failed = [finding for finding in findings if finding.status is CheckStatus.FAIL]
    ordered = failed or list(findings)
    causes = [likely_cause(finding.kind, finding.facts) for finding in ordered]
    rest = len(findings) - 1
    more = f" (and {rest} more finding{'s'[: rest > 1]})" if rest else ""
    return Check(
        name=name,
        status=ordered[0].status,
        expected=ordered[0].expected,
        actual=ordered[0].actual,
        explanation=ordered[0].text + more,
        cause=next((cause for cause in causes if cause), None),
        seconds=seconds,
        details={**(details or {}), "findings": [finding.text for finding in findings]},
    )


def skipped(
    name: str, why: str, *, seconds: float = 0.0, details: Mapping[str, Any] | None = None
) -> Check:
    """Return a check that had nothing to look at, because of ``why``."""
    return Check(
        name=name, status=CheckStatus.SKIP, explanation=why, seconds=seconds, details=details or {}
    )
