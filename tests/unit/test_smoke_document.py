"""Whatever an image prints is read and judged: what does not fit is red with its reason."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuilder.model.errors import SmokeError
from envbuilder.runtime import Command, Completed
from envbuilder.smoke import CheckStatus, Report, smoke, to_html, to_json, to_junit
from envbuilder.smoke import document as reading
from envbuilder.smoke.document import UnfitError, clean, read_document
from envbuilder.smoke.judge import judge
from tests.unit.smoke_documents import PLAN, RECORDED, Document, conform, sound_start

RAN = {"args": ["vllm", "--version"], "exit_code": 0, "output": "0.8.5"}
WHOLE = {
    **RECORDED,
    "jobs": [
        *RECORDED["jobs"],
        sound_start(),
        {**sound_start(), "name": "start.run", "facts": {}, "items": [RAN]},
    ],
}
WANTED = [job["name"] for job in RECORDED["jobs"]]


def _judged(text: bytes) -> Report:
    return judge(PLAN, read_document(text, wanted=WANTED), subject="recorded")


def _spoilt(spoil: Callable[[dict[str, Any]], None]) -> Report:
    document = copy.deepcopy(RECORDED)
    spoil(document)
    return _judged(json.dumps(document).encode())


def _job(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(job for job in document["jobs"] if job["name"] == name)


def test_an_image_that_starts_is_judged_by_four_checks() -> None:
    wanted = [*WANTED, "start", "start.run"]
    report = judge(PLAN, read_document(json.dumps(WHOLE).encode(), wanted=wanted), subject="x")
    assert report.ok
    told = {check.name: check for check in report.checks if check.name.startswith("start")}
    assert told.keys() == {"start.program", "start.user", "start.tls", "start.run"}
    assert told["start.user"].explanation == (
        "user 1000 is app, at home in /home/app; here it has 67 MB of /dev/shm, 1048576 open "
        "files, and may lock any memory"
    )
    assert told["start.run"].explanation == "`vllm --version` ends with 0 and says: 0.8.5"


def test_what_the_probe_really_writes_fits() -> None:
    found = read_document(json.dumps(RECORDED).encode(), wanted=WANTED)
    assert (found["problems"], found["contradictions"]) == ([], [])
    assert {job["outcome"] for job in found["jobs"]} == {"done"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"[" * 200_000, "nested too deeply", id="200000 brackets"),
        pytest.param(b'{"a":' * 200_000, "nested too deeply", id="200000 objects"),
        pytest.param(b'{"jobs": [' + b"1" * 5000 + b"]", "not JSON", id="torn"),
        pytest.param(b"\xff\xfe", "not JSON", id="no text"),
        pytest.param(b"[1]", "no JSON object but array", id="a list"),
        pytest.param(b'{"x": "' + b"x" * (5 << 20) + b'"}', "longer than 4 MiB", id="5 MiB"),
    ],
)
def test_what_is_no_document_is_a_smoke_error(text: bytes, words: str) -> None:
    def run(_command: Command) -> Completed:
        return Completed(exit_code=0, stdout=text, stderr=b"", seconds=1.0, peak_memory=None)

    with pytest.raises(SmokeError, match=words):
        smoke(run, PLAN)


def _set(name: str, path: list[Any], value: object) -> Callable[[dict[str, Any]], None]:
    def spoil(document: dict[str, Any]) -> None:
        place = _job(document, name)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return spoil


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        (_set("caches", ["items"], 5), "caches", "Expected `array`, got `int` - at `$.items`"),
        (_set("caches", ["seconds"], "x"), "caches", "Expected `float`, got `str`"),
        (_set("caches", ["seconds"], -1), "caches", "at `$.seconds`"),
        (_set("caches", ["outcome"], "fine"), "caches", "Invalid enum value 'fine'"),
        (_set("caches", ["outcome"], "absent"), "caches", "comes with a failure"),
        (_set("caches", ["facts"], {}), "caches", "its facts lack looked_in, stale_bytecode"),
        (_set("tokens.image", ["items", 0, "placeholders"], 10**400), "tokens.image", "401 digits"),
        (_set("tokens.image", ["items", 0, "placeholders"], -1), "tokens.image", "placeholders"),
        (_set("tokens.image", ["items", 0, "formula"], True), "tokens.image", "got `bool`"),
        (_set("tokens.image", ["items", 0, "label"], ""), "tokens.image", "length >= 1"),
        (_set("tokens.image", ["items", 0, "modality"], "smell"), "tokens.image", "smell"),
        (_set("tokens.image", ["facts", "more"], _deep(40)), "tokens.image", "more than 12 levels"),
        (_set("engine.vllm", ["facts", "dummy"], {"image": "x"}), "engine.reserve", "dummy"),
        (_set("environment", ["facts", "files"], None), "environment", "files"),
        (_set("environment", ["facts", "distributions", 0, "version"], None), "environment", "str"),
        (_set("tokens.mixed", ["items", 0, "finite"], "yes"), "tokens.generate", "finite"),
    ],
)  # fmt: skip
def test_a_job_that_does_not_fit_is_red_with_the_place(
    spoil: Callable[[dict[str, Any]], None], check: str, words: str
) -> None:
    report = _spoilt(spoil)
    conform(report)
    (found,) = [one for one in report.checks if one.name == check]
    assert found.status is CheckStatus.ERROR
    assert words in found.explanation
    assert report.verdict is CheckStatus.ERROR
    others = {
        one.status for one in report.checks if one.name.split(".")[1:2] != check.split(".")[1:2]
    }
    assert CheckStatus.PASS in others, "one job's trouble is its own"


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["jobs"].remove(_job(document, name))


def _twice(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["jobs"].append(copy.deepcopy(_job(document, name)))


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        (lambda document: document.update(jobs=5), "probe", "got `number` - at `$.jobs`"),
        (lambda document: document.update(version=2), "probe", "version is 2, expected 1"),
        (lambda document: document.update(seconds="long"), "probe", "at `$.seconds`"),
        (lambda document: document.update(cores=10**400), "probe", "401 digits - at `$.cores`"),
        (lambda document: document["jobs"].append({}), "probe", "none that was asked for"),
        (lambda document: document["jobs"].append(7), "probe", "none that was asked for"),
        (_twice("caches"), "probe", "the job caches is there twice"),
        (_drop("caches"), "caches", "the probe says nothing of it"),
        (_drop("tokens.image"), "tokens.image", "the probe says nothing of it"),
        (_drop("environment"), "environment", "the probe says nothing of it"),
        (_drop("engine.vllm"), "engine.reserve", "the probe says nothing of it"),
    ],
)  # fmt: skip
def test_a_document_with_more_or_less_than_was_asked_for_is_red(
    spoil: Callable[[dict[str, Any]], None], check: str, words: str
) -> None:
    report = _spoilt(spoil)
    conform(report)
    (found,) = [one for one in report.checks if one.name == check]
    assert found.status is CheckStatus.ERROR
    assert words in " ".join([found.explanation, *found.details["findings"]])


def test_odd_texts_and_numbers_are_made_such_that_can_be_written() -> None:
    document = copy.deepcopy(RECORDED)
    facts = _job(document, "gpu")["facts"]
    facts.update({"lone\ud800": "\udfff", "long": "x" * 100_000, "nan": float("nan")})
    text = json.dumps(document).replace('"nan": NaN', '"nan": NaN, "huge": 1e999').encode()
    found = _job(read_document(text, wanted=WANTED), "gpu")["facts"]
    assert found["lone\N{REPLACEMENT CHARACTER}"] == "\N{REPLACEMENT CHARACTER}"
    assert len(found["long"]) == reading.LONGEST + 1
    assert (found["nan"], found["huge"]) == (None, None)
    assert _judged(text).ok


def test_a_number_stated_twice_with_two_values_is_a_finding() -> None:
    text = json.dumps(RECORDED).replace(
        '"placeholders": 4,', '"placeholders": 4,"placeholders": 5,'
    )
    report = _judged(text.encode())
    check = next(one for one in report.checks if one.name == "probe")
    assert check.status is CheckStatus.FAIL
    assert "'placeholders' is stated twice" in check.explanation
    same = json.dumps(RECORDED).replace(
        '"placeholders": 4,', '"placeholders": 4,"placeholders": 4,'
    )
    assert _judged(same.encode()).ok


def test_the_same_sample_counted_twice_must_count_the_same() -> None:
    def again(placeholders: int) -> Report:
        document = Document()
        items = document.job("tokens.video")["items"]
        items.append({**document.item("tokens.video", "2 frames 3584x3584")})
        items[-1].update(placeholders=placeholders, formula=placeholders, embeddings=placeholders)
        return document.report()

    assert again(729).ok
    check = next(one for one in again(16384).checks if one.name == "probe")
    assert check.explanation == (
        "the image contradicts itself: tokens.video: placeholders of video 2 frames 3584x3584 is "
        "729, and 16384 when asked again (and 2 more findings)"
    )


def test_jobs_that_saw_two_versions_of_a_library_contradict_each_other() -> None:
    document = Document()
    document.job("tokens.image")["facts"]["transformers"] = "5.0.0"
    check = document.check("probe")
    assert "transformers is 4.52.4 in one job, 5.0.0 in another" in check.explanation


LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800")


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values, and lists and objects of them."""
    lists = st.lists(inner, max_size=4)
    return inner | lists | st.dictionaries(st.text(max_size=9), inner, max_size=4)


VALUES = _around(_around(LEAF))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List every place of the document."""
    found = [path] if path else []
    keys = (
        value.keys()
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    for key in keys:
        found += _places(value[key], (*path, key))
    return found


PLACES = _places(WHOLE)


# The siege goes on where these end (fuzz: probe documents).
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=4), data=st.data())
def test_nothing_that_an_image_prints_stops_the_judge(
    places: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    document = copy.deepcopy(WHOLE)
    for path in places:
        _spoil(document, path, data)
    try:
        text = json.dumps(document).encode()
        found = read_document(text, wanted=[*WANTED, "start", "start.run"])
    except UnfitError:
        return
    report = judge(PLAN, found, subject="recorded")
    conform(report)
    for form in (to_json, to_html, to_junit):
        form(report).encode()
    assert all(check.explanation for check in report.checks)


def _spoil(document: Any, path: tuple[Any, ...], data: st.DataObject) -> None:
    """Take out, or replace, what stands at ``path``, where it still stands."""
    place = document
    for key in path[:-1]:
        if not isinstance(place, (dict, list)) or (
            isinstance(place, list) and not isinstance(key, int)
        ):
            return
        try:
            place = place[key]
        except (KeyError, IndexError):
            return
    if isinstance(place, dict) and path[-1] in place:
        if data.draw(st.booleans()):
            del place[path[-1]]
        else:
            place[path[-1]] = data.draw(VALUES)
    elif isinstance(place, list) and path[-1] in range(len(place)):
        place[path[-1]] = data.draw(VALUES)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_nothing_at_all_stops_the_reading(text: bytes) -> None:
    try:
        found = read_document(text, wanted=["caches"])
    except UnfitError:
        return
    assert [job["name"] for job in found["jobs"]] == ["caches"]
    assert not judge(PLAN, found, subject="it").ok


@given(VALUES)
def test_what_is_cleaned_can_be_written(value: Any) -> None:
    try:
        cleaned = clean(value)
    except UnfitError:
        return
    json.dumps(cleaned, ensure_ascii=False).encode()
