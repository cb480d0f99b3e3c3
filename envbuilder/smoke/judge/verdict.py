"""The verdict of many checks, and the line that says it."""

from __future__ import annotations

from collections.abc import Sequence

from envbuilder.smoke.report import Check, CheckStatus, ModelVerdict, TokenRow

from .finding import WORST_FIRST


def overall(checks: Sequence[Check]) -> CheckStatus:
    """Return fail before error before unproven before pass; nothing checked at all is unproven."""
    found = {check.status for check in checks}
    order = (*WORST_FIRST, CheckStatus.PASS)
    return next((status for status in order if status in found), CheckStatus.UNPROVEN)


def summary(
    verdict: CheckStatus,
    checks: Sequence[Check],
    table: Sequence[TokenRow],
    models: Sequence[ModelVerdict] = (),
) -> str:
    """Say in one line how ``checks`` ended, and what was counted; of several ``models`` whose."""
    several = len(models) > 1
    if verdict is CheckStatus.PASS:
        passed = sum(check.status is CheckStatus.PASS for check in checks)
        return f"known good: {passed} checks passed{_counted(table, models)}"
    bad = [check for check in checks if check.status is verdict]
    if not bad:
        return "unproven: nothing was checked"
    whose = f"{bad[0].model}: " if several and bad[0].model else ""
    told = f"{whose}{bad[0].name}: {bad[0].explanation}"
    if verdict is CheckStatus.UNPROVEN:
        return f"unproven: {len(bad)} of {len(checks)} checks could not be judged: {told}"
    word = "failed" if verdict is CheckStatus.FAIL else "came to no verdict"
    return f"{len(bad)} of {len(checks)} checks {word}: {told}"


def _counted(table: Sequence[TokenRow], models: Sequence[ModelVerdict]) -> str:
    """Name the tokens of the maximum items, model by model if there are several."""
    if len(models) < 2:
        maxima = _maxima(table)
        return f"; tokens: {maxima}" if maxima else ""
    each = []
    for model in models:
        maxima = _maxima([row for row in table if row.model == model.name])
        each.append(f"{model.name} ({maxima})" if maxima else model.name)
    return f" of {len(models)} models; tokens: {', '.join(each)}"


def _maxima(table: Sequence[TokenRow]) -> str:
    found = [f"{row.modality} {row.placeholders}" for row in table if row.role == "maximum"]
    return ", ".join(found)
