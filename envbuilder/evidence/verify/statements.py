"""Hold signed statements against a policy and the lock: whose, about what, how old, how good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from envbuilder.evidence.read import Evidence
from envbuilder.evidence.statements import (
    NAMES,
    PROVENANCE,
    TEST_RESULT,
    Statement,
    claimed_moment,
    finished_on,
)
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import lock_checksum

from .findings import Finding, FindingStatus, Level
from .policy import Policy

_CLOCKS = timedelta(minutes=5)  # by which two machines may disagree


def judge_evidence(
    evidence: Evidence, policy: Policy, lock: Lock, now: datetime
) -> Iterator[Finding]:
    """Say for each required predicate whether a statement satisfies the policy.

    Of test results the newest decides, whichever trusted key signed it; of what an image is made of
    any one is enough. What is missing fails.
    """
    for name in policy.required:
        if name not in NAMES:
            continue
        statements = evidence.by_type(NAMES[name])
        if NAMES[name] == TEST_RESULT:
            statements = statements[-1:]
        faults = [_fault(statement, policy, lock, now) for statement in statements]
        if not statements:
            yield _finding(name, FindingStatus.MISMATCH, _missing(evidence))
        elif all(faults):
            which = "the newest by a trusted key " if NAMES[name] == TEST_RESULT else ""
            yield _finding(name, FindingStatus.MISMATCH, which + faults[-1])
        else:
            when = finished_on(statements[faults.index("")])
            yield _finding(name, FindingStatus.OK, f"signed, about this image, of {when}")


def _missing(evidence: Evidence) -> str:
    there = []
    if evidence.by_others:
        why = f" ({evidence.refusals[-1]})" if evidence.refusals else ""
        there.append(f"{evidence.by_others} signed by another key{why}")
    if evidence.about_others:
        there.append(f"{evidence.about_others} about another image")
    return "none by this key about this image" + (f"; there is {', '.join(there)}" if there else "")


def _fault(statement: Statement, policy: Policy, lock: Lock, now: datetime) -> str:
    """Say why a statement does not count, or nothing."""
    return (
        _age_fault(statement, policy, now)
        or _lock_fault(statement, str(lock_checksum(lock)))
        or _builder_fault(statement, policy)
        or _result_fault(statement, policy)
    )


def _age_fault(statement: Statement, policy: Policy, now: datetime) -> str:
    text, moment = finished_on(statement), claimed_moment(statement)
    if moment is None:
        return f"has no date that we can read: {text[:40]!r}"
    if statement.since is not None and moment - statement.since > _CLOCKS:
        return f"says that it is of {text}, but was signed before, on {statement.since.isoformat()}"
    if moment - now > _CLOCKS:
        return f"is from the future: {text}"
    if policy.max_age_days is not None and now - moment > timedelta(days=policy.max_age_days):
        return f"is of {text}, older than {policy.max_age_days} days"
    return ""


def _lock_fault(statement: Statement, expected: str) -> str:
    """Check that the statement was made of this very lock; a bill of materials names none."""
    predicate = statement.predicate
    try:
        if statement.predicate_type == PROVENANCE:
            found = {predicate["buildDefinition"]["externalParameters"]["lock"]}
        elif statement.predicate_type == TEST_RESULT:
            found = {f"sha256:{item['digest']['sha256']}" for item in predicate["configuration"]}
        else:
            return ""
    except (KeyError, TypeError):
        return "names no lock"
    return "" if expected in found else "is about another lock"


def _builder_fault(statement: Statement, policy: Policy) -> str:
    if statement.predicate_type != PROVENANCE or not policy.builders:
        return ""
    try:
        builder = statement.predicate["runDetails"]["builder"]["id"]
    except (KeyError, TypeError):
        return "names no builder"
    return "" if builder in policy.builders else f"is by another builder: {str(builder)[:200]!r}"


def _result_fault(statement: Statement, policy: Policy) -> str:
    if statement.predicate_type != TEST_RESULT:
        return ""
    result = statement.predicate.get("result")
    if result != "PASSED":
        why = ", ".join(_tests(statement, "failedTests")) or "no reason given"
        return f"says {result!r}, of {finished_on(statement)}: {why}"
    passed = _tests(statement, "passedTests")
    missing = [check for check in policy.checks if not _covers(passed, check)]
    return f"does not say that these passed: {', '.join(missing)}" if missing else ""


def _tests(statement: Statement, member: str) -> list[str]:
    names = statement.predicate.get(member)
    return [str(name) for name in names] if isinstance(names, list) else []


def _covers(passed: list[str], check: str) -> bool:
    """Return whether ``check`` passed: by name or group (``tokens``: ``tokens.image``).

    Of several models each check is named with its model: ``tokens.image (qwen2_audio)``.
    """
    names = [name.partition(" ")[0] for name in passed]
    return any(name == check or name.startswith(f"{check}.") for name in names)


def _finding(name: str, status: FindingStatus, explanation: str) -> Finding:
    return Finding(level=Level.EVIDENCE, subject=name, status=status, explanation=explanation)
