"""The page of the pairs is what was recorded, and every cell that is not green is explained."""

import json

import pytest

from envbuilder.smoke import SmokePlan
from envbuilder.smoke.causes import explain
from envbuilder.smoke.document import read_document
from envbuilder.smoke.judge import judge
from envbuilder.smoke.probe import families
from tests.pairs import (
    ANSWERS,
    BROKEN,
    BROKEN_ENGINES,
    ENGINES,
    ODD,
    asked_engine,
    surprises,
    verdict,
)
from tests.pairs_page import PAGE, SOUND, UNPROVEN, Column, page, read, table

CELLS = [
    pytest.param(found, id=f"{part} {release} {name}")
    for part, columns in read().items()
    for release, column in columns.items()
    for name, found in column.cells.items()
    if found not in SOUND
]


def test_the_page_is_drawn_from_the_record() -> None:
    assert PAGE.read_text() == page(read())


@pytest.mark.parametrize("found", CELLS)
def test_what_is_not_green_has_pages_in_the_cause_book(found: str) -> None:
    for cause in found.removeprefix(UNPROVEN).split(", "):
        assert explain(cause).cause.id == cause


def test_every_red_pair_is_known() -> None:
    assert surprises() == []
    recorded = read()
    assert all(recorded["transformers"][release].cells[name] for release, name in BROKEN)
    assert all(recorded["vllm"][release].cells[name] for release, name in BROKEN_ENGINES)


def test_the_newest_engine_was_asked_about_every_family() -> None:
    newest = next(iter(ENGINES))
    assert sorted(read()["vllm"][newest].cells) == families.names()


@pytest.mark.parametrize("name", ODD)
def test_what_the_engine_said_is_judged_as_recorded(name: str) -> None:
    document = json.loads(ANSWERS.read_text())
    wanted = [job["name"] for job in document["jobs"]]
    plan = asked_engine(SmokePlan(), ODD)
    report = judge(plan, read_document(ANSWERS.read_bytes(), wanted=wanted), subject="recorded")
    assert verdict(report, name, "engine.") == read()["vllm"][next(iter(ENGINES))].cells[name]


def test_a_family_about_which_nothing_was_asked_is_not_green() -> None:
    document = json.loads(ANSWERS.read_text())
    plan = asked_engine(SmokePlan(), ODD[:1])
    failure = {"kind": "absent", "message": "vLLM is not installed"}
    jobs = [{**document["jobs"][0], "outcome": "absent", "failure": failure, "items": []}]
    report = judge(plan, {**document, "jobs": jobs}, subject="none")
    assert verdict(report, ODD[0], "engine.") == "vLLM is not installed"


def test_a_family_that_was_not_run_has_an_empty_cell() -> None:
    columns = {
        "1.0": Column(what="all", day="2026-01-01", cells={"a": "green", "b": "why"}),
        "2.0": Column(what="all", day="2026-01-01", cells={"b": "-"}, beside="5.0"),
    }
    assert table(columns).splitlines() == [
        "| family | 1.0 | 2.0 with 5.0 |",
        "|---|---|---|",
        "| `a` | green |  |",
        "| `b` | **why** | - |",
    ]
