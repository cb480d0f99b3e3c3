"""The verdict: the worst decides, nothing is calm that was not judged, and zero is a number."""

import copy
import dataclasses
import html
import itertools
import sys
import types
from pathlib import Path

import pytest

from envbuilder.smoke import (
    Check,
    CheckStatus,
    OwnSample,
    ProbedModel,
    Report,
    SmokePlan,
    to_html,
    to_junit,
)
from envbuilder.smoke.judge.finding import Fault, conclude
from envbuilder.smoke.judge.verdict import overall
from tests.unit.smoke_documents import BUILT, PLAN, Document, conform, stating

FAIL, ERROR, UNPROVEN, PASS, SKIP = (
    CheckStatus.FAIL, CheckStatus.ERROR, CheckStatus.UNPROVEN, CheckStatus.PASS, CheckStatus.SKIP,
)  # fmt: skip
WORST_FIRST = (FAIL, ERROR, UNPROVEN, PASS, SKIP)


@pytest.mark.parametrize("pair", [*itertools.combinations(WORST_FIRST, 2)])
def test_the_worst_check_decides(pair: tuple[CheckStatus, CheckStatus]) -> None:
    for order in (pair, pair[::-1]):
        checks = [Check(name="x", status=status) for status in order]
        assert overall(checks) is pair[0]


def test_nothing_checked_is_unproven() -> None:
    assert overall([]) is UNPROVEN
    assert overall([Check(name="x", status=SKIP)]) is UNPROVEN
    document = Document()
    document.value["jobs"] = []
    report = document.report(SmokePlan())
    assert (report.verdict, report.summary) == (UNPROVEN, "unproven: nothing was checked")


def _fault(status: CheckStatus, text: str) -> Fault:
    return Fault(kind="x", text=text, expected=f"e {text}", actual=f"a {text}", status=status)


@pytest.mark.parametrize("pair", [*itertools.combinations((FAIL, ERROR, UNPROVEN), 2)])
def test_the_worst_finding_gives_the_check_its_words(pair: tuple[CheckStatus, CheckStatus]) -> None:
    worse, better = (_fault(status, str(status)) for status in pair)
    check = conclude("x", [better, worse], good=("", ""))
    assert check.status is pair[0]
    assert check.explanation == f"{pair[0]} (and 1 more finding)"
    assert (check.expected, check.actual) == (f"e {pair[0]}", f"a {pair[0]}")
    assert check.details["findings"] == [better.text, worse.text]
    more = conclude("x", [better, worse, better], good=("", ""))
    assert more.explanation.endswith("(and 2 more findings)")
    assert conclude("x", [better], good=("", "")).explanation == better.text


def test_a_check_that_asserts_nothing_never_passes() -> None:
    check = conclude("x", [], good=(" ", "all of nothing is well"))
    assert check.status is UNPROVEN
    assert check.explanation == "nothing was compared"


def _only(name: str, **counts: object) -> Document:
    document = Document()
    items = document.job(f"tokens.{name}")["items"]
    for item in items:
        item.update(counts)
    return document


def test_counts_that_were_compared_with_nothing_are_unproven() -> None:
    document = _only("image", formula=None, embeddings=None)
    document.drop("engine.vllm", "engine.tight")
    plan = stating({})
    check = document.check("tokens.image", plan)
    assert check.status is UNPROVEN
    assert "compared with nothing" in check.explanation
    report = document.report(plan)
    assert report.summary.startswith("unproven: 1 of ")
    rows = [row for row in report.tokens if row.modality == "image"]
    assert "compared with nothing" in {row.note for row in rows}
    document.job("tokens.image")["items"][0]["embeddings"] = 4
    assert document.check("tokens.image", plan).status is PASS


@pytest.mark.parametrize("name", ["formula", "embeddings"])
def test_a_count_of_nothing_is_a_count(name: str) -> None:
    document = Document()
    document.item("tokens.image", "280x280")[name] = 0
    check = document.check("tokens.image")
    assert check.status is FAIL
    assert (check.expected, check.actual) == ("0", "100")


def test_no_formula_and_no_rows_are_no_disagreement() -> None:
    document = Document()
    document.item("tokens.image", "280x280").update(formula=None, embeddings=None)
    assert document.check("tokens.image").status is PASS


@pytest.mark.parametrize(("pieces", "status"), [(0, FAIL), (1, PASS), (2, FAIL), (3, FAIL)])
def test_the_placeholder_is_one_token(pieces: int, status: CheckStatus) -> None:
    document = Document()
    document.job("tokens.image")["facts"]["token_splits_into"] = pieces
    assert document.check("tokens.image").status is status


@pytest.mark.parametrize(
    ("token", "model", "status"),
    [(0, 1, FAIL), (1, 0, FAIL), (0, 0, PASS), (None, 0, PASS), (0, None, PASS), (7, 7, PASS)],
)
def test_the_first_id_of_a_vocabulary_is_an_id(
    token: int | None, model: int | None, status: CheckStatus
) -> None:
    document = Document()
    document.job("tokens.image")["facts"].update(token_id=token, model_token_id=model)
    assert document.check("tokens.image").status is status


def test_a_model_that_cannot_be_counted_is_unproven_also_beside_what_can() -> None:
    document = Document()
    document.stop("tokens.video", "uncountable", "its template joins strings")
    check = document.check("tokens.video")
    assert (check.status, check.explanation) == (UNPROVEN, "its template joins strings")
    report = document.report(stating({"image": 16384}))
    assert report.verdict is UNPROVEN


def test_a_stated_number_whose_maximum_was_not_counted_is_not_calm() -> None:
    document = Document()
    items = document.job("tokens.image")["items"]
    document.job("tokens.image")["items"] = [one for one in items if one["role"] != "maximum"]
    report = document.report(stating({"image": 16384}))
    check = next(one for one in report.checks if one.name == "tokens.image.reserved")
    assert check.status is UNPROVEN
    assert report.verdict is UNPROVEN


def test_an_engine_that_says_nothing_is_unproven() -> None:
    document = Document()
    document.job("engine.vllm")["facts"].update(declared=None, dummy={}, modalities=[])
    document.job("engine.vllm")["items"] = []
    checks = {check.name: check for check in document.report().checks}
    assert checks["engine.reserve"].status is UNPROVEN
    assert checks["engine.counts"].status is UNPROVEN


def test_a_distribution_without_modules_or_hashes_is_not_said_to_be_well() -> None:
    document = Document()
    document.job("import.pillow")["items"] = []
    document.job("environment")["facts"]["files"].update(hashed=0, bytes=0)
    checks = {check.name: check for check in document.report().checks}
    assert checks["environment.import.pillow"].status is SKIP
    assert checks["environment.files"].status is UNPROVEN


def test_a_gpu_job_that_crashed_is_no_skip() -> None:
    document = Document()
    document.stop("gpu", "crashed", exit_code=-11)
    assert document.check("gpu", dataclasses.replace(PLAN, gpu="auto")).status is ERROR
    document = Document()
    document.stop("gpu", "absent", "torch is not installed")
    assert document.check("gpu", dataclasses.replace(PLAN, gpu="auto")).status is SKIP


def test_unproven_is_told_in_every_form() -> None:
    check = Check(name="tokens.image", status=UNPROVEN, explanation="no template")
    report = Report(subject="s", verdict=UNPROVEN, summary="unproven: x", checks=(check,))
    conform(report)
    assert 'errors="1"' in to_junit(report)
    assert '<error message="no template" type="unproven">' in to_junit(report)
    assert "UNPROVEN" in to_html(report)
    assert "no template" in to_html(report)
    assert not report.ok
    assert (report.passes(allow_unproven=False), report.passes(allow_unproven=True)) == (
        False,
        True,
    )


@pytest.mark.parametrize(("status", "ends"), [(PASS, True), (FAIL, False), (ERROR, False)])
def test_only_what_is_unproven_can_be_allowed(status: CheckStatus, ends: bool) -> None:
    report = Report(subject="s", verdict=status, summary="", checks=())
    assert report.passes(allow_unproven=True) is ends


def test_the_model_is_asked_for_by_the_plan_alone() -> None:
    document = Document()
    for name in ("audio", "image", "video", "mixed"):
        document.stop(f"tokens.{name}", "inapplicable", f"the model has no {name}")
    report = document.report(SmokePlan(models=(ProbedModel(family="llava"),), checks=("tokens",)))
    assert {check.status for check in report.checks if check.name != "tokens.generate"} >= {
        UNPROVEN
    }
    assert report.verdict is UNPROVEN


@pytest.mark.parametrize(
    ("job", "label", "argument", "array"),
    [
        ("tokens.image", "280x280", "images", (280, 280, 3)),
        ("tokens.video", "8 frames 640x360", "videos", (8, 360, 640, 3)),
        ("tokens.audio", "30 s", "audio", (480000,)),
    ],
)
def test_what_no_page_knows_comes_with_three_lines_that_show_it(
    job: str, label: str, argument: str, array: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Document()
    document.item(job, label)["placeholders"] = 3
    plan = dataclasses.replace(PLAN, models=(ProbedModel(path="/models/it's mine"),))
    check = document.check(job, plan)
    assert check.cause is None
    lines = check.details["reproduction"]
    assert len(lines) == 3
    asked: dict[str, object] = {}

    def zeros(shape: tuple[int, ...], _kind: str) -> tuple[int, ...]:
        return shape

    class Ids(list[int]):
        ravel = tolist = lambda self: self

    def processor(**given: object) -> dict[str, list[int]]:
        asked.update(given)
        return {"input_ids": [document.job(job)["facts"]["token_id"]] * 3 + [0]}

    def load(folder: str) -> object:
        asked["folder"] = folder
        return processor

    numpy = types.SimpleNamespace(zeros=zeros, asarray=Ids)
    auto = types.SimpleNamespace(from_pretrained=load)
    monkeypatch.setitem(sys.modules, "numpy", numpy)
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoProcessor=auto))
    said: list[int] = []
    exec("\n".join(lines), {"print": said.append})
    assert said == [3]
    assert asked["folder"] == "/models/it's mine"
    assert asked[argument] == [array]
    assert lines[0] in html.unescape(to_html(document.report(plan)))
    assert f"to see it: {lines[2]}" in to_junit(document.report(plan))


def test_what_the_book_knows_needs_no_lines() -> None:
    document = Document()
    document.item("tokens.audio", "2.74 s")["placeholders"] = 67
    assert "reproduction" not in document.check("tokens.audio").details


def _two_models() -> tuple[SmokePlan, Document]:
    """Return a plan of two models, and the document in which both are counted."""
    document = Document()
    for job in [*document.value["jobs"]]:
        if job["name"].startswith(("tokens.", "engine.")):
            other = copy.deepcopy({**job, "name": f"{job['name']}@1"})
            document.value["jobs"].append(other)
    (first,) = PLAN.models
    second = dataclasses.replace(first, family="qwen2_audio", tokens={"image": 16384})
    return dataclasses.replace(PLAN, models=(first, second)), document


def test_each_model_has_its_own_checks_rows_and_verdict() -> None:
    plan, document = _two_models()
    document.item("tokens.image@1", "280x280")["placeholders"] = 99
    report = document.report(plan)
    conform(report)
    red = [(check.model, check.name) for check in report.checks if check.status is FAIL]
    assert red == [("qwen2_audio", "tokens.image"), ("qwen2_audio", "engine.counts")]
    assert [(one.name, one.verdict) for one in report.models] == [
        ("qwen2_5_omni", PASS),
        ("qwen2_audio", FAIL),
    ]
    assert "checks failed: qwen2_audio: tokens.image: image 280x280" in report.summary
    tables = dict(report.rows_by_model())
    assert len(tables["qwen2_5_omni"]) == len(tables["qwen2_audio"])
    assert [row.placeholders for row in tables["qwen2_audio"] if row.sample == "280x280"] == [99]
    stated = [row.stated for row in tables["qwen2_audio"] if row.role == "maximum"]
    assert stated == [None, 16384, None]
    page = to_html(report)
    assert "qwen2_audio: tokens" in page
    assert page.count('<table class="tokens">') == 2
    assert 'name="qwen2_audio: tokens.image"' in to_junit(report)


def test_a_green_summary_names_every_model() -> None:
    plan, document = _two_models()
    report = document.report(plan)
    assert report.summary.endswith(
        " checks passed of 2 models; tokens: qwen2_5_omni (audio 750, image 16384, video 729), "
        "qwen2_audio (audio 750, image 16384, video 729)"
    )
    assert report.models[1].summary.startswith("known good: ")


def test_a_sample_is_asked_of_the_models_that_take_it_and_of_one_at_least() -> None:
    plan, document = _two_models()
    own = OwnSample(path=Path("x.wav"), modality="audio", label="x.wav")
    plan = dataclasses.replace(plan, samples=(own,))
    document.stop("tokens.audio@1", "inapplicable", "it has no audio")
    named = {(one.model, one.name): one for one in document.report(plan).checks}
    assert named["qwen2_audio", "tokens.audio"].status is SKIP
    (first, second) = plan.models
    first = dataclasses.replace(first, tokens={})
    document.stop("tokens.audio", "inapplicable", "it has no audio")
    plan = dataclasses.replace(plan, models=(first, second))
    named = {(one.model, one.name): one for one in document.report(plan).checks}
    assert named["qwen2_audio", "tokens.audio"].status is FAIL


def test_a_configuration_without_weights_is_counted_and_not_run() -> None:
    document = Document()
    document.drop("tokens.mixed")
    plan = dataclasses.replace(PLAN, models=(ProbedModel(config="/models/x"),))
    check = document.check("tokens.generate", plan)
    assert (check.status, check.explanation) == (
        SKIP,
        "there are no weights to generate with: the configuration alone is counted",
    )


def test_the_architecture_is_what_transformers_builds_and_vllm_resolves() -> None:
    document = Document()
    document.value["jobs"].append(copy.deepcopy(BUILT))
    assert "architecture.vllm" not in {one.name for one in document.report().checks}
    document.job("engine.vllm")["facts"]["resolved"] = "Omni"
    checks = {one.name: one for one in document.report().checks}
    told = checks["architecture"].explanation
    assert told == "transformers 5.23.0 builds M (7,000,000,000 parameters) of its C"
    assert checks["architecture.vllm"].explanation.endswith(
        "resolves Omni and makes its configuration"
    )
    document.job("engine.vllm")["facts"] = {"version": "0.9", "resolved": ""}
    document.stop("engine.vllm", "error", "ValueError: Model architectures ['X'] are not supported")
    checks = {one.name: one for one in document.report().checks}
    assert checks["architecture.vllm"].status is ERROR
    assert "engine.reserve" not in checks
    cause = checks["architecture.vllm"].cause
    assert cause is not None
    assert cause.id == "architecture-unknown"
    document.drop("architecture")  # a check that was left out must not take this one along
    assert document.check("engine.reserve").status is ERROR
