"""Faults planted into the newest families, as the probe saw them (:mod:`tests.planted`)."""

import json
from typing import Any

import pytest

from envbuilder.smoke import CheckStatus
from envbuilder.smoke.document import read_document
from envbuilder.smoke.judge import judge
from envbuilder.smoke.report import Report
from tests.planted import RECORDED, ROUNDS, Planted, asked, wrong
from tests.unit.smoke_documents import PLAN, conform

DOCUMENTS: list[dict[str, Any]] = json.loads(RECORDED.read_text())
FAULTS = [(number, fault) for number, faults in enumerate(ROUNDS) for fault in faults]


def _judged(number: int) -> Report:
    """Judge the recorded round ``number`` as what an image prints is judged."""
    document = DOCUMENTS[number]
    names = [job["name"] for job in document["jobs"]]
    read = read_document(json.dumps(document).encode(), wanted=names)
    return judge(asked(PLAN, ROUNDS[number]), read, subject="planted")


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return [_judged(number) for number in range(len(ROUNDS))]


@pytest.mark.parametrize(("number", "fault"), FAULTS, ids=lambda one: getattr(one, "name", ""))
def test_a_planted_fault_is_red_with_its_cause(
    reports: list[Report], number: int, fault: Planted
) -> None:
    conform(reports[number])
    assert wrong(fault, reports[number].checks) == ""


def test_the_rounds_are_recorded_whole(reports: list[Report]) -> None:
    assert len(DOCUMENTS) == len(ROUNDS)
    assert len({fault.name for _, fault in FAULTS}) == len(FAULTS) >= 15
    assert {report.verdict for report in reports} == {CheckStatus.FAIL}


def test_the_same_items_without_the_fault_are_green() -> None:
    """Heal what was recorded: nothing but the disagreement makes it red."""
    names = [fault.name for fault in ROUNDS[0]]
    document = json.loads(json.dumps(DOCUMENTS[0]))
    for job in document["jobs"]:
        job["facts"]["model_token_id"] = job["facts"]["token_id"]
        for item in job["items"]:
            true = item["formula"]
            item.update(placeholders=true, turned=None)
            item["embeddings"] = None if item["embeddings"] is None else true
    jobs = [job["name"] for job in document["jobs"]]
    read = read_document(json.dumps(document).encode(), wanted=jobs)
    report = judge(asked(PLAN, ROUNDS[0]), read, subject="healed")
    assert [model.verdict for model in report.models] == [CheckStatus.PASS] * len(names)
