"""One thing that is wrong, before it is a check: what kind, in words, and the facts behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from envbuilder.smoke.causes import likely_cause
from envbuilder.smoke.report import Check, CheckStatus

from .reproduce import reproduction

WORST_FIRST = (CheckStatus.FAIL, CheckStatus.ERROR, CheckStatus.UNPROVEN)
"""What is not green, the worst first."""


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

    A failure outranks an error, and an error what is unproven. The first finding of the worst
    status gives the check its numbers, the first with a known cause gives it the cause, and all of
    them are listed in the details. Without findings and without anything ``actual``, nothing was
    asserted, and the check is unproven.
    """
    actual, explanation = good
    if not findings and not actual.strip():
        return unproven(name, "nothing was compared", seconds=seconds, details=details)
    if not findings:
        return Check(
            name=name,
            status=CheckStatus.PASS,
            expected=actual,
            actual=actual,
            explanation=explanation,
            seconds=seconds,
            details=details or {},
        )
    worst = next(one for one in WORST_FIRST if any(found.status is one for found in findings))
    ordered = [finding for finding in findings if finding.status is worst]
    causes = [likely_cause(finding.kind, finding.facts) for finding in ordered]
    cause = next((found for found in causes if found), None)
    shown = {} if cause else _shown(ordered)
    rest = len(findings) - 1
    more = f" (and {rest} more finding{'s'[: rest > 1]})" if rest else ""
    return Check(
        name=name,
        status=worst,
        expected=ordered[0].expected,
        actual=ordered[0].actual,
        explanation=ordered[0].text + more,
        cause=cause,
        seconds=seconds,
        details={**(details or {}), "findings": [found.text for found in findings], **shown},
    )


def _shown(findings: Sequence[Fault]) -> dict[str, list[str]]:
    """Return how to see the first of ``findings`` that a few lines can show."""
    lines = next((found for each in findings if (found := reproduction(each.facts))), ())
    return {"reproduction": list(lines)} if lines else {}


def skipped(
    name: str, why: str, *, seconds: float = 0.0, details: Mapping[str, Any] | None = None
) -> Check:
    """Return a check that had nothing to look at, because of ``why``."""
    return Check(
        name=name, status=CheckStatus.SKIP, explanation=why, seconds=seconds, details=details or {}
    )


def unproven(
    name: str, why: str, *, seconds: float = 0.0, details: Mapping[str, Any] | None = None
) -> Check:
    """Return a check of what was asked for and could not be judged, because of ``why``."""
    return Check(
        name=name,
        status=CheckStatus.UNPROVEN,
        expected="a verdict",
        actual="none",
        explanation=why,
        seconds=seconds,
        details=details or {},
    )
