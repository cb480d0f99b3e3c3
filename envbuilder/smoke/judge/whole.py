"""Judge the document as a whole: whether it fits its type, and does not contradict itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envbuilder.smoke.report import Check, CheckStatus

from .finding import Fault, conclude

SHOWN = 50
"""How many findings are worth listing."""


def judge(document: Mapping[str, Any]) -> list[Check]:
    """Return the check ``probe``, or none if nothing is wrong with the document."""
    unfit = [
        Fault(
            kind="document-unfit",
            text=f"the image's answer does not fit: {problem}",
            expected="a document of the probe",
            actual="another",
            status=CheckStatus.ERROR,
        )
        for problem in document.get("problems", ())
    ]
    twofold = [
        Fault(
            kind="document-contradicts",
            text=f"the image contradicts itself: {text}",
            expected="one answer",
            actual="two",
        )
        for text in document.get("contradictions", ())
    ]
    findings = [*unfit, *twofold][:SHOWN]
    return [conclude("probe", findings, good=("", ""))] if findings else []
