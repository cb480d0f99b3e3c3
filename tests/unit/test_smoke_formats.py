"""The report in its other forms, and the cause book."""

import dataclasses
import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator, ValidationError

from envbuilder.model.errors import UsageError
from envbuilder.smoke import (
    About,
    Check,
    CheckStatus,
    LayerSize,
    Report,
    TokenRow,
    causes,
    to_html,
    to_json,
    to_junit,
)
from envbuilder.smoke.causes import book, explain, likely_cause
from envbuilder.smoke.page import odd, picture
from tests.unit.smoke_documents import SCHEMA, Document, conform


@pytest.fixture
def red() -> Report:
    """Return a report with one failure that has a cause."""
    document = Document()
    document.item("tokens.audio", "2.74 s")["placeholders"] = 67
    return document.report()


def test_the_json_form_conforms_to_the_published_schema(red: Report) -> None:
    for report in (red, Document().report()):
        conform(report)


def test_the_schema_is_one_and_refuses_what_it_does_not_know() -> None:
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))
    check = Check(name="a", status=CheckStatus.PASS)
    whole = Report(subject="s", verdict=CheckStatus.PASS, summary="", checks=(check,))
    conform(whole)
    with pytest.raises(ValidationError, match="maybe"):
        conform(dataclasses.replace(whole, verdict="maybe"))  # type: ignore[arg-type]


def test_the_schema_knows_every_status() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert set(schema["$defs"]["status"]["enum"]) == {str(status) for status in CheckStatus}


def test_junit_counts_and_tells_the_story(red: Report) -> None:
    suite = ET.fromstring(to_junit(red))
    assert suite.get("tests") == str(len(red.checks))
    assert suite.get("failures") == "2"  # the encoder and the engine both disagree with it
    failure = suite.find("testcase[@name='tokens.audio']/failure")
    assert failure is not None
    assert "67 placeholders" in failure.get("message", "")
    assert failure.text is not None
    assert "likely cause (audio-off-by-one)" in failure.text


def test_junit_survives_what_a_container_may_print() -> None:
    check = Check(name="a", status=CheckStatus.ERROR, explanation="\x1b[31m<&>\x00\ud800")
    report = Report(subject="s\x00", verdict=CheckStatus.ERROR, summary="", checks=(check,))
    case = ET.fromstring(to_junit(report).encode("utf-8"))
    assert case.find("testcase/error") is not None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str | None] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [text for name, text in attributes if name in {"src", "href"}]


def test_the_page_loads_nothing_and_runs_nothing(red: Report) -> None:
    page = _Links()
    page.feed(to_html(red, layers=[LayerSize(title="torch 2.6.0", size=1000)]))
    assert page.loaded == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("figure") == len(red.tokens)


def test_the_page_marks_the_disagreeing_numbers_and_names_the_cure(red: Report) -> None:
    text = to_html(red)
    assert re.findall(r'class="count odd">(\d+)<', text) == ["67"]
    assert "Likely cause: Audio length computed two ways" in text
    assert "FAIL" in text


def _row(**counts: int | None) -> TokenRow:
    blank = dict.fromkeys(("formula", "placeholders", "embeddings"))
    return TokenRow(modality="video", sample="s", role="maximum", **{**blank, **counts})


@pytest.mark.parametrize(
    ("counts", "marked"),
    [
        ({"formula": 68, "placeholders": 68, "embeddings": 68, "engine": 68}, set()),
        ({"formula": 68, "placeholders": 67, "embeddings": 68}, {"placeholders"}),
        ({"placeholders": 67, "embeddings": 68}, {"placeholders", "embeddings"}),
        (
            {"formula": 9, "placeholders": 9, "embeddings": 8, "engine": 8},
            {"formula", "placeholders", "embeddings", "engine"},
        ),
        ({"placeholders": 729, "stated": 16384}, set()),
    ],
)
def test_the_odd_numbers_are_those_that_most_contradict(
    counts: dict[str, int], marked: set[str]
) -> None:
    assert odd(Document().report(), _row(**counts)) == marked


def test_a_wrong_statement_is_marked_with_what_it_contradicts() -> None:
    wrong = Check(name="tokens.video.reserved", status=CheckStatus.FAIL)
    report = Report(subject="s", verdict=CheckStatus.FAIL, summary="", checks=(wrong,))
    assert odd(report, _row(placeholders=729, stated=16384)) == {"placeholders", "stated"}
    assert odd(report, _row(placeholders=729, engine=9, stated=1)) >= {"engine", "stated"}


def test_the_page_escapes_what_it_shows() -> None:
    check = Check(name="<b>", status=CheckStatus.FAIL, explanation="<script>alert(1)</script>")
    report = Report(subject="<i>", verdict=CheckStatus.FAIL, summary="&", checks=(check,))
    assert "<script>" not in to_html(report)


def test_a_sample_is_drawn_to_scale() -> None:
    row = TokenRow(
        modality="image",
        sample="1323x49",
        role="edge",
        formula=94,
        placeholders=94,
        embeddings=94,
        grid=(1, 4, 94),
    )
    drawn = picture(row)
    assert drawn is not None
    assert drawn.width / drawn.height == pytest.approx(94 / 4, rel=0.01)
    assert drawn.caption == "94 by 4 patches"


def test_the_book_is_large_enough_and_every_page_can_match() -> None:
    pages = book()
    assert len(pages) >= 10
    for page in pages:
        assert page.cause.title
        assert page.cause.cause.endswith(".")
        assert page.cause.cure.endswith((".", "'."))
        assert page.match["kind"]


def test_the_page_with_more_conditions_wins() -> None:
    cause = likely_cause("limit-ignored", {"modality": "video"})
    assert cause is not None
    assert cause.id == "max-pixels-dropped"
    assert likely_cause("limit-ignored", {"modality": "image"}) is None


def test_explain_finds_a_page_and_names_the_others() -> None:
    assert explain("processor-video-cap").cause.link.endswith("/248")
    with pytest.raises(UsageError, match="no page 'nothing'") as caught:
        explain("nothing")
    assert "processor-video-cap" in caught.value.hint


def test_every_file_of_the_book_is_toml_with_the_known_keys() -> None:
    for path in Path(causes.__file__).parent.glob("*.toml"):
        keys = set(tomllib.loads(path.read_text()))
        assert keys <= {"title", "seen", "between", "affects", "cause", "cure", "link", "match"}


ABOUT = About(
    envbuilder="0.1",
    date="2026-07-01T10:00:00Z",
    kernel="Linux 6.1 x86_64",
    image="sha256:" + "a" * 64,
    lock="sha256:" + "b" * 64,
    runtime="crun",
    driver="550.54.14",
)


def test_every_form_says_which_image_and_lock_it_is_about_and_who_made_it(red: Report) -> None:
    report = dataclasses.replace(red, about=ABOUT)
    conform(report)
    assert json.loads(to_json(report))["about"] == dataclasses.asdict(ABOUT)
    properties = ET.fromstring(to_junit(report)).findall("properties/property")
    page = to_html(report)
    for name, value in dataclasses.asdict(ABOUT).items():
        assert (name, value) in {(each.get("name"), each.get("value")) for each in properties}
        assert f"{name} <code>{value}</code>" in page
    assert "None" not in to_html(dataclasses.replace(red, about=None))
