"""Golden answers: what is red, what is news, and what a build writes down."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuilder.model.errors import SmokeError
from envbuilder.smoke import CheckStatus, SmokePlan
from envbuilder.smoke.answers import (
    Answers,
    answers_path,
    answers_to_record,
    parse_answers,
    read_answers,
    write_answers,
)
from envbuilder.smoke.judge.answers import answers_of
from envbuilder.smoke.report import Check
from tests.unit.smoke_documents import PLAN, Document, stating

SPREAD = 0.15


def _document() -> Document:
    """Return the recorded facts with answers, as a probe of today writes them."""
    document = Document()
    mixed = document.job("tokens.mixed")
    mixed["facts"]["identity"] = "qwen2_5_omni, random"
    for number, item in enumerate(mixed["items"]):
        logits = [round(0.01 * (number + at) - 0.1, 6) for at in range(16)]
        item.update(dtype="torch.float32", spread=SPREAD, logits=logits)
        item.update(generated=[7, 8, 9, 10], margins=[0.1, 0.1, 1e-7, 0.1])
    return document


def _recorded() -> Answers:
    found = answers_of(_document().value)
    assert found is not None
    return found


def _check(document: Document, recorded: Answers | None = None) -> Check:
    return document.check("tokens.answers", stating({}, answers=recorded or _recorded()))


def test_the_same_answers_are_green() -> None:
    check = _check(_document())
    assert check.status is CheckStatus.PASS
    assert "as recorded" in check.explanation


def test_nothing_recorded_is_a_skip_and_no_failure() -> None:
    report = _document().report(PLAN)
    check = next(check for check in report.checks if check.name == "tokens.answers")
    assert check.status is CheckStatus.SKIP
    assert report.ok


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logits": [0.5] * 16}, "standard deviations"),
        ({"logits": []}, "inf standard deviations"),
        ({"dtype": "torch.bfloat16"}, "the weights are torch.bfloat16, were torch.float32"),
        ({"generated": [7, 99, 9, 10]}, "token 2 of the greedy answer"),
    ],
)
def test_other_answers_of_the_same_environment_are_red(change: dict[str, Any], words: str) -> None:
    document = _document()
    document.item("tokens.mixed", "all together").update(change)
    check = _check(document)
    assert check.status is CheckStatus.FAIL
    assert words in check.explanation
    assert "all together" in check.explanation
    assert "answers.json" in check.explanation


def test_a_prompt_that_is_not_answered_any_more_is_red() -> None:
    document = _document()
    items = document.job("tokens.mixed")["items"]
    items[:] = [item for item in items if item["label"] != "all together"]
    assert "not answered any more" in _check(document).explanation


@pytest.mark.parametrize(
    "change",
    [
        {"generated": [7, 8, 99, 11]},  # after a token that won by a hair, anything may follow
        {"logits": None},
    ],
)
def test_noise_is_no_failure(change: dict[str, Any]) -> None:
    document = _document()
    item = document.item("tokens.mixed", "all together")
    if change.get("logits", ...) is None:
        change = {"logits": [value + 1e-4 * SPREAD for value in item["logits"]]}
    item.update(change)
    assert _check(document).status is CheckStatus.PASS


def test_logits_that_are_off_by_no_more_than_machines_differ() -> None:
    document = _document()
    item = document.item("tokens.mixed", "all together")
    item["logits"] = [value + 2.9e-4 * SPREAD for value in item["logits"]]
    assert _check(document).status is CheckStatus.PASS
    item["logits"] = [value + 0.2e-4 * SPREAD for value in item["logits"]]
    assert "off by 0.00031 standard deviations" in _check(document).explanation


@pytest.mark.parametrize(("margin", "parted"), [(0.8e-4, False), (1.0e-4, True)])
def test_a_token_that_won_by_more_than_noise_has_to_stay(margin: float, parted: bool) -> None:
    """Two logits that are off by 3e-4 deviations each, of 0.15, meet at 0.9e-4."""
    document = _document()
    item = document.item("tokens.mixed", "all together")
    item["margins"] = [margin] * 4
    recorded = answers_of(document.value)
    item["generated"] = [7, 99]
    assert (_check(document, recorded).status is CheckStatus.FAIL) is parted


@pytest.mark.parametrize("name", ["tokens.mixed", "environment"])
def test_answers_are_kept_only_of_what_was_seen_whole(name: str) -> None:
    document = _document()
    document.job(name)["outcome"] = "timeout"
    assert answers_of(document.value) is None
    document.drop(name)
    assert answers_of(document.value) is None


@pytest.mark.parametrize("change", [{"error": "it fell"}, {"spread": None}, {"logits": [None]}])
def test_a_prompt_without_numbers_is_not_answered(change: dict[str, Any]) -> None:
    document = _document()
    document.item("tokens.mixed", "all together").update(change)
    found = answers_of(document.value)
    assert found is not None
    assert found.prompts.keys() == _recorded().prompts.keys() - {"all together"}
    for item in document.job("tokens.mixed")["items"]:
        item.update(change)
    assert answers_of(document.value) is None


def test_coarse_weights_have_a_coarse_tolerance() -> None:
    document = _document()
    for item in document.job("tokens.mixed")["items"]:
        item["dtype"] = "torch.bfloat16"
    recorded = answers_of(document.value)
    item = document.item("tokens.mixed", "all together")
    item["logits"] = [value + 0.02 * SPREAD for value in item["logits"]]
    assert _check(document, recorded).status is CheckStatus.PASS
    item["logits"] = [value + 0.1 * SPREAD for value in item["logits"]]
    assert _check(document, recorded).status is CheckStatus.FAIL


def test_answers_that_moved_with_a_package_are_news() -> None:
    document = _document()
    document.package("transformers")["version"] = "4.53.3"
    check = _check(document)
    assert check.status is CheckStatus.PASS
    assert "transformers 4.52.4 → 4.53.3" in check.explanation
    assert "as recorded" in check.explanation
    document.item("tokens.mixed", "all together")["logits"] = [0.5] * 16
    check = _check(document)
    assert check.status is CheckStatus.PASS
    assert check.actual == "moved"
    assert "all together" in check.explanation


def test_of_many_packages_that_moved_four_are_named() -> None:
    document = _document()
    names = sorted(_recorded().packages)[:6]
    told = {name: _recorded().packages[name] for name in _recorded().packages}
    for count, words in ((4, ""), (5, " and 1 more"), (6, " and 2 more")):
        packages = {**told, **dict.fromkeys(names[:count], "0.1")}
        check = _check(document, replace(_recorded(), packages=packages))
        named = ", ".join(f"{name} 0.1 → {told[name]}" for name in names[:4])
        assert check.explanation.endswith(f"since they were recorded: {named}{words}")


def test_other_weights_are_another_model() -> None:
    document = _document()
    document.job("tokens.mixed")["facts"]["identity"] = "sha256 0"
    document.item("tokens.mixed", "all together")["logits"] = [0.5] * 16
    check = _check(document)
    assert check.status is CheckStatus.PASS
    assert "the weights" in check.explanation


def test_a_green_build_writes_answers_once(tmp_path: Path) -> None:
    path = answers_path(tmp_path, "demo")
    assert read_answers(path) is None
    report = _document().report(PLAN)
    found = answers_to_record(report, None, model="qwen2_5_omni")
    assert found == _recorded()
    write_answers(path, found)
    assert read_answers(path) == found
    assert [file.name for file in tmp_path.iterdir()] == ["demo.answers.json"]
    assert answers_to_record(report, read_answers(path), model="qwen2_5_omni") is None


def test_a_red_build_writes_none() -> None:
    document = _document()
    document.item("tokens.image", "280x280")["placeholders"] = 99
    assert answers_to_record(document.report(PLAN), None, model="qwen2_5_omni") is None


def test_another_package_is_written_down_by_the_next_green_build() -> None:
    document = _document()
    document.package("torch")["version"] = "2.7.0"
    report = document.report(SmokePlan(models=stating({}, answers=_recorded()).models))
    found = answers_to_record(report, _recorded(), model="qwen2_5_omni")
    assert found is not None
    assert found.packages["torch"] == "2.7.0"


_ONE = '{"version": 1, "identity": "", "packages": {}, "prompts": {"a": {"dtype": "", "spread": 0'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2}',
        '{"version": 1}',
        "{",
        "[" * 100_000,
        '{"version": ' + "1" * 5000,
        _ONE + ', "margins": [], "generated": [], "logits": [1' + "0" * 400 + "]}}}",
        _ONE + ', "margins": [], "generated": [1e999], "logits": []}}}',
        _ONE + ', "margins": [], "generated": [NaN], "logits": []}}}',
    ],
)
def test_a_spoilt_file_is_named(tmp_path: Path, text: str) -> None:
    path = answers_path(tmp_path, "demo")
    path.write_text(text)
    with pytest.raises(SmokeError, match=r"demo\.answers\.json does not hold"):
        read_answers(path)


def test_answers_survive_json() -> None:
    recorded = _recorded()
    assert parse_answers(recorded.to_dict()) == recorded
