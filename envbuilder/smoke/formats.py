"""A report as text that programs read: JSON (published schema) and JUnit XML."""

from __future__ import annotations

import json
import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .report import Check, CheckStatus, Report

_KINDS = {
    CheckStatus.FAIL: "failure",
    CheckStatus.ERROR: "error",
    CheckStatus.UNPROVEN: "error",
    CheckStatus.SKIP: "skipped",
}
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def to_json(report: Report) -> str:
    """Render ``report`` as JSON; ``docs/reference/smoke-report.schema.json`` describes it."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_junit(report: Report) -> str:
    """Render ``report`` as JUnit XML (the "Ant" form that CI systems read): a case per check."""
    checks = report.checks
    suite = Element(
        "testsuite",
        name=f"envbuilder smoke: {_clean(report.subject)}",
        tests=str(len(checks)),
        failures=str(_count(report, CheckStatus.FAIL)),
        errors=str(_count(report, CheckStatus.ERROR) + _count(report, CheckStatus.UNPROVEN)),
        skipped=str(_count(report, CheckStatus.SKIP)),
        time=f"{report.seconds:.3f}",
    )
    if report.about is not None:
        properties = SubElement(suite, "properties")
        for name, value in report.about.lines():
            SubElement(properties, "property", name=name, value=_clean(value))
    for check in checks:
        _case(suite, check, several=len(report.models) > 1)
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Element, check: Check, *, several: bool) -> None:
    group, _, _ = check.name.partition(".")
    case = SubElement(
        suite,
        "testcase",
        classname=f"smoke.{group}",
        name=f"{check.model}: {check.name}" if several and check.model else check.name,
        time=f"{check.seconds:.3f}",
    )
    if check.status in _KINDS:
        message = _clean(check.explanation)
        element = SubElement(case, _KINDS[check.status], message=message)
        element.text = _clean(_story(check))
        if check.status is CheckStatus.UNPROVEN:
            element.set("type", "unproven")


def _story(check: Check) -> str:
    """Return everything that a person needs to act on ``check``."""
    lines = [check.explanation]
    if check.expected or check.actual:
        lines.append(f"expected: {check.expected}\nactual: {check.actual}")
    if check.cause is not None:
        lines.append(f"likely cause ({check.cause.id}): {check.cause.cause}")
        lines.append(f"cure: {check.cause.cure}")
    lines += [f"to see it: {line}" for line in check.details.get("reproduction", ())]
    lines += [str(text) for text in check.details.get("findings", ())][1:]
    return "\n".join(lines)


def _count(report: Report, status: CheckStatus) -> int:
    return sum(check.status is status for check in report.checks)


def _clean(text: str) -> str:
    """Replace what XML 1.0 cannot hold (a container's output may hold anything)."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
