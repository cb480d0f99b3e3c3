"""Return whether an environment is good: by its smoke test, by one check of it, or by a command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock
from envbuilder.runtime import Completed
from envbuilder.smoke import Report
from envbuilder.smoke.report import Check, CheckStatus
from envbuilder.workflow.build import BuildResult as Built

from .search import TrialResult

SKIP_CODE = 125
"""The exit code that says "cannot tell", as for ``git bisect run``."""
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleAnswer:
    """What a test said, and why in one line."""

    outcome: TrialResult
    detail: str


Judge = Callable[[Lock], OracleAnswer]
"""Builds a lock and judges it; raises what the build raises."""


def by_smoke(build: Callable[[Lock], Built], *, check: str | None = None) -> Judge:
    """Judge by the smoke test: by its verdict, or by the checks that ``check`` names.

    ``tokens.video`` names that check, ``tokens`` all that begin with ``tokens.``.
    """

    def judge(lock: Lock) -> OracleAnswer:
        report = build(lock).report
        assert report is not None  # noqa: S101 - the stages always smoke
        if check is not None:
            return _by_check(report, check)
        if report.ok:
            outcome = TrialResult.GOOD
        else:
            unproven = report.verdict is CheckStatus.UNPROVEN
            outcome = TrialResult.SKIP if unproven else TrialResult.BAD
        return OracleAnswer(outcome=outcome, detail=report.summary)

    return judge


def by_command(run: Callable[[Lock], Completed]) -> Judge:
    """Judge by a command inside the image: 0 is good, 125 cannot tell, anything else is bad."""

    def judge(lock: Lock) -> OracleAnswer:
        done = run(lock)
        outcome = {0: TrialResult.GOOD, SKIP_CODE: TrialResult.SKIP}.get(
            done.exit_code, TrialResult.BAD
        )
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        last = f": {lines[-1][:_SHOWN]}" if lines else ""
        return OracleAnswer(outcome=outcome, detail=f"exit code {done.exit_code}{last}")

    return judge


def _by_check(report: Report, wanted: str) -> OracleAnswer:
    found = [
        each
        for each in report.checks
        if each.name == wanted or each.name.startswith((f"{wanted}.", f"{wanted}:"))
    ]
    if not found:
        known = ", ".join(each.name for each in report.checks)
        raise UsageError(f"the smoke test has no check {wanted}", hint=f"it has {known}")
    failed = [each for each in found if each.status in {CheckStatus.FAIL, CheckStatus.ERROR}]
    if failed:
        return OracleAnswer(outcome=TrialResult.BAD, detail=_said(failed))
    states = {each.status for each in found}
    passed = CheckStatus.PASS in states and CheckStatus.UNPROVEN not in states
    return OracleAnswer(
        outcome=TrialResult.GOOD if passed else TrialResult.SKIP, detail=_said(found)
    )


def _said(checks: Iterable[Check]) -> str:
    return "; ".join(f"{each.name}: {each.explanation or each.actual}" for each in checks)[:_SHOWN]
