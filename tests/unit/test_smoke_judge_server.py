"""What a server counted, judged without one: each way to be wrong, and its words."""

from __future__ import annotations

from typing import Any

import pytest

from envbuilder.smoke import CheckStatus, Report
from envbuilder.smoke.judge import judge_server
from envbuilder.smoke.judge.server import Counted, Counts

TEXT, AROUND, BESIDE = 9, 3, 2
"""Tokens of the text's prompt; what the template puts around an item, and the processor's own."""
PLACEHOLDERS = {
    ("audio", "short"): 10,
    ("image", "square"): 16,
    ("image", "wide"): 24,
    ("image", "tall"): 30,
}
SMALL = ("short", "square")
EXPECTED: Counts = {
    key: Counted(placeholders=number, added=number + BESIDE) for key, number in PLACEHOLDERS.items()
}


def item(modality: str, label: str, **changes: Any) -> dict[str, Any]:
    """Return a right answer about an item; a change to None leaves the key out."""
    answer = {
        "modality": modality, "label": label, "role": "small" if label in SMALL else "large",
        "modalities": [modality], "seconds": 0.5,
        "prompt": TEXT + PLACEHOLDERS[modality, label] + AROUND,
        **changes,
    }  # fmt: skip
    return {key: value for key, value in answer.items() if value is not None or key == "status"}


def refusal(modality: str, label: str, status: int | None, error: str = "no") -> dict[str, Any]:
    return item(modality, label, prompt=None, status=status, error=error)


def facts(*changed: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return right answers to all items, in order, but for those that are ``changed``."""
    items = {key: item(*key) for key in PLACEHOLDERS}
    items |= {(one["modality"], one["label"]): one for one in changed}
    told = {"url": "http://x", "model": "tiny", "text": TEXT, "again": [], **more}
    return {**told, "items": list(items.values())}


def judged(told: dict[str, Any], expected: Counts | None = EXPECTED) -> Report:
    return judge_server(told, expected, seconds=2.0)


def said(report: Report, name: str) -> tuple[CheckStatus, str]:
    (check,) = [one for one in report.checks if one.name == name]
    return check.status, " ".join([check.explanation, *check.details.get("findings", ())[1:]])


def test_right_counts_are_green_and_the_table_has_them() -> None:
    report = judged(facts())
    assert (report.subject, report.seconds) == ("tiny at http://x", 2.0)
    assert report.summary == "counts as the processor does: 2 checks passed"
    assert [check.name for check in report.checks] == ["server.audio", "server.image"]
    good = "the server adds what the processor makes of each, +1 of its chat template"
    assert said(report, "server.image") == (CheckStatus.PASS, good)
    (image,) = [one for one in report.checks if one.name == "server.image"]
    assert (image.actual, image.seconds) == ("square 19, wide 27, tall 33", 1.5)
    rows = {(row.modality, row.sample): row for row in report.tokens}
    assert rows.keys() == PLACEHOLDERS.keys()
    for key, row in rows.items():
        assert row.engine == row.placeholders == PLACEHOLDERS[key]
        assert (row.agree, row.note) == (True, "")
    assert [row.role for row in report.tokens] == ["small", "small", "large", "large"]


def test_without_anything_to_compare_green_claims_no_more_than_it_is() -> None:
    report = judged(facts(), None)
    assert report.summary == (
        "agrees with itself (2 checks), compared with nothing: give NAME or --local"
    )
    status, why = said(report, "server.audio")
    assert status is CheckStatus.PASS
    assert why.startswith("the server adds short 13 tokens, the same when asked again; nothing")
    (row,) = [row for row in report.tokens if row.modality == "audio"]
    assert (row.engine, row.placeholders, row.agree) == (13, None, True)
    assert row.note == "with the text around it"


def test_one_item_that_counts_otherwise_than_most_is_red() -> None:
    report = judged(facts(item("image", "wide", prompt=TEXT + 24 + AROUND - 7)))
    status, why = said(report, "server.image")
    assert status is CheckStatus.FAIL
    assert why == (
        "image wide: the server adds 20 tokens to the prompt, the processor makes 24 placeholders "
        "with 2 beside them; most others differ by +1"
    )
    (check,) = [one for one in report.checks if one.name == "server.image"]
    assert (check.expected, check.actual) == ("27", "20")
    (row,) = [row for row in report.tokens if row.sample == "wide"]
    assert (row.engine, row.placeholders, row.agree) == (17, 24, False)


def test_a_template_that_adds_nothing() -> None:
    items = [item(*key, prompt=TEXT + number + BESIDE) for key, number in PLACEHOLDERS.items()]
    assert "of each, +0 of its chat template" in said(judged(facts(*items)), "server.image")[1]


@pytest.mark.parametrize(("added", "red"), [(8, True), (9, True), (10, False), (11, False)])
def test_fewer_tokens_than_placeholders_are_red_though_all_are_short_by_as_many(
    added: int, red: bool
) -> None:
    """The only item of its kind: what it is longer by would explain any count."""
    report = judged(facts(item("audio", "short", prompt=TEXT + added)))
    status, why = said(report, "server.audio")
    assert (status is CheckStatus.FAIL) is red
    if red:
        assert f"adds {added} tokens to the prompt, the processor makes 10 placeholders" in why


def test_the_cause_is_known_where_one_token_is_missing() -> None:
    numbers = {"a": 10, "b": 20, "c": 30}
    prompts = {"a": TEXT + 10 + AROUND, "b": TEXT + 19 + AROUND, "c": TEXT + 30 + AROUND}
    items = [
        {**item("audio", "short"), "label": label, "prompt": prompt}
        for label, prompt in prompts.items()
    ]
    expected = {
        ("audio", label): Counted(placeholders=number, added=number)
        for label, number in numbers.items()
    }
    (check,) = judged({**facts(), "items": items}, expected).checks
    assert check.explanation.startswith("audio b: the server adds 22 tokens to the prompt")
    assert check.cause is not None
    assert check.cause.id == "audio-off-by-one"


@pytest.mark.parametrize(("added", "red"), [(-1, True), (0, True), (1, False)])
def test_an_item_that_adds_nothing_was_dropped(added: int, red: bool) -> None:
    report = judged(facts(item("image", "tall", prompt=TEXT + added)), None)
    status, why = said(report, "server.image")
    assert (status is CheckStatus.FAIL) is red
    dropped = f"image tall adds {added} tokens to the prompt: the server drops it"
    assert (why == dropped) is red


def test_what_cannot_be_compared_is_unproven() -> None:
    """Text beside frames, in a tokenizer that only the model has."""
    expected = {**EXPECTED, ("audio", "short"): Counted(placeholders=10, added=None)}
    report = judged(facts(), expected)
    status, why = said(report, "server.audio")
    assert status is CheckStatus.UNPROVEN
    assert why.startswith("the server adds short 13 tokens, not compared")
    (row,) = [row for row in report.tokens if row.modality == "audio"]
    assert (row.engine, row.note) == (13, "with the text around it")
    dropped = judged(facts(item("audio", "short", prompt=TEXT)), expected)
    assert said(dropped, "server.audio")[0] is CheckStatus.FAIL, "a finding is no doubt"


def test_of_items_that_can_be_compared_the_others_are_not_judged_by() -> None:
    expected = {**EXPECTED, ("image", "wide"): Counted(placeholders=24, added=None)}
    report = judged(facts(item("image", "wide", prompt=TEXT + 500)), expected)
    assert said(report, "server.image")[0] is CheckStatus.PASS
    (row,) = [row for row in report.tokens if row.sample == "wide"]
    assert (row.engine, row.agree) == (500, False)


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [
        (400, CheckStatus.FAIL, " (400)"),
        (499, CheckStatus.FAIL, " (499)"),
        (500, CheckStatus.ERROR, " (500)"),
        (None, CheckStatus.ERROR, ""),
    ],
)
def test_a_refusal_of_what_was_counted_is_red(
    status: int | None, verdict: CheckStatus, code: str
) -> None:
    report = judged(facts(refusal("image", "wide", status, "At most 1 image")))
    assert said(report, "server.image") == (
        verdict, f"the server does not answer image wide{code}: At most 1 image",
    )  # fmt: skip
    (check,) = [one for one in report.checks if one.name == "server.image"]
    assert check.actual == str(status).lower()
    assert "wide" not in {row.sample for row in report.tokens}


def test_a_modality_that_the_server_says_it_does_not_take_is_left_out() -> None:
    told = facts(refusal("audio", "short", 400, "not a speech model"))
    status, why = said(judged(told, None), "server.audio")
    assert status is CheckStatus.SKIP
    assert why == "the server takes no audio (400): not a speech model"
    assert judged(told, None).verdict is CheckStatus.PASS
    assert said(judged(told), "server.audio")[0] is CheckStatus.FAIL, "the processor takes it"
    for status in (None, 503):
        broken = facts(refusal("audio", "short", status))
        assert said(judged(broken, None), "server.audio")[0] is CheckStatus.ERROR
    some = facts(refusal("image", "wide", 400))
    assert said(judged(some, None), "server.image")[0] is CheckStatus.FAIL, "it takes images"


def test_a_server_that_takes_nothing_is_red() -> None:
    report = judged(facts(*(refusal(*key, 400) for key in PLACEHOLDERS)), None)
    assert report.verdict is CheckStatus.FAIL
    assert {check.status for check in report.checks} == {CheckStatus.FAIL}
    assert said(report, "server.audio")[1] == "the server takes no audio (400): no"


@pytest.mark.parametrize("expected", [EXPECTED, None])
def test_asked_again_it_has_to_say_the_same(expected: Counts | None) -> None:
    again = [item("image", "square"), item("audio", "short", prompt=25)]
    report = judged(facts(again=again), expected)
    assert said(report, "server.image")[0] is CheckStatus.PASS
    assert said(report, "server.audio") == (
        CheckStatus.FAIL, "audio short: the same prompt has 22 tokens, then 25",
    )  # fmt: skip
    refused = judged(facts(again=[refusal("audio", "short", 500, "gone")]), expected)
    assert said(refused, "server.audio") == (
        CheckStatus.ERROR, "the server does not answer audio short (500): gone",
    )  # fmt: skip


def test_asked_again_what_it_never_answered_is_told_once() -> None:
    again = [refusal("audio", "short", 400)]
    report = judged(facts(refusal("audio", "short", 400), again=again))
    assert "more finding" not in said(report, "server.audio")[1]


def together(**answer: Any) -> dict[str, Any]:
    return {"modalities": ["audio", "image"], "seconds": 0.25, **answer}


def test_in_one_prompt_they_add_as_much_as_one_by_one() -> None:
    report = judged(facts(together=together(prompt=TEXT + 13 + 19)))
    good = "audio, image in one prompt add as many tokens as one by one (32)"
    assert said(report, "server.together") == (CheckStatus.PASS, good)
    short = judged(facts(together=together(prompt=TEXT + 31)))
    assert said(short, "server.together") == (
        CheckStatus.FAIL, "audio, image add 32 tokens one by one, but 31 in one prompt",
    )  # fmt: skip
    (check,) = [one for one in short.checks if one.name == "server.together"]
    assert (check.expected, check.actual, check.seconds) == ("32", "31", 0.25)


def test_one_prompt_that_is_refused_is_red() -> None:
    report = judged(facts(together=together(status=400, error="at most one item")))
    assert said(report, "server.together") == (
        CheckStatus.FAIL,
        "the server does not answer audio, image together (400): at most one item",
    )
