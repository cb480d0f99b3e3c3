"""The image's own server, judged; and what of a spec reaches it."""

from pathlib import Path
from typing import Any

import pytest

from envbuilder.smoke import Check, CheckStatus, ProbedModel, SmokePlan, Start, as_it_starts
from envbuilder.smoke.media import ITEMS
from envbuilder.smoke.probe.job import expand
from envbuilder.workflow.smoke import smoke_plan
from tests.unit.locks import lock
from tests.unit.smoke_documents import Document, conform

FOUND = {"args": ["vllm", "serve", "/m"], "port": 8000, "ready": 12.4, "model": "m"}
TEXT = {"label": "text", "prompt": 9, "text": "a", "seconds": 0.1}
IMAGE = {
    "label": "280x280", "modality": "image", "prompt": 111, "added": 102, "placeholders": 100,
    "text": "b", "seconds": 0.2,
}  # fmt: skip


def _check(items: list[dict[str, Any]], **facts: object) -> Check:
    document = Document()
    document.value["jobs"].append(
        {
            "name": "start.serve", "outcome": "done", "seconds": 20.0, "failure": None,
            "facts": {**FOUND, **facts}, "items": items,
        }
    )  # fmt: skip
    conform(document.report())
    return document.check("start.serve")


def test_a_server_that_answers_is_green_with_its_time_and_its_prompts() -> None:
    check = _check([TEXT, IMAGE])
    assert check.status is CheckStatus.PASS
    assert check.explanation == (
        "`vllm serve /m` is ready after 12 s and answers (tokens of each prompt: text 9, image 111)"
    )


@pytest.mark.parametrize(
    ("items", "facts", "words"),
    [
        ([TEXT, {**IMAGE, "added": 99}], {}, "makes 100 tokens of it, the server's prompt is only"),
        ([TEXT, {"label": "280x280", "modality": "image", "error": "400: no images"}], {},
         "the server answers image 280x280 with an error: 400: no images"),
        ([], {"silent": "it ended with exit code 2 before it was ready", "output": "a\nno GPU\n"},
         "does not serve: it ended with exit code 2 before it was ready; its last line: no GPU"),
    ],
)  # fmt: skip
def test_what_a_server_does_not_do_is_red(
    items: list[dict[str, Any]], facts: dict[str, str], words: str
) -> None:
    check = _check(items, **facts)
    assert check.status is CheckStatus.FAIL
    assert words in check.explanation


def test_a_server_that_was_asked_nothing_is_no_server_that_answers() -> None:
    assert _check([]).status is CheckStatus.ERROR


def test_as_many_tokens_as_the_processor_makes_are_enough() -> None:
    assert _check([TEXT, {**IMAGE, "added": 100}]).status is CheckStatus.PASS


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        (True, ("vllm", "serve", "{model}")),
        (["{model}", "--port", "9"], ("vllm", "serve", "{model}", "--port", "9")),
        (False, ()),
    ],
)
def test_the_entry_point_gets_the_specs_arguments(
    tmp_path: Path, serve: object, expected: tuple[str, ...]
) -> None:
    start = {"serve": serve, "port": 9, "run": ["true"]}
    asked = {"smoke": {"model": {"family": "llava"}, "start": start}}
    settings = {"Entrypoint": ["vllm", "serve"], "Cmd": ["a/b", "--port", "80"]}
    plan = as_it_starts(smoke_plan(lock({}, **asked), folder=tmp_path), settings)
    assert plan.start is not None
    assert (plan.start.serve, plan.start.port) == (expected, 9)
    assert plan.start.args == ("vllm", "serve", "a/b", "--port", "80")
    assert ("start.serve" in expand(plan.request())) is bool(expected)


def test_one_small_item_of_each_modality_is_sent_and_only_to_a_server() -> None:
    models = (ProbedModel(family="llava"),)
    sent = SmokePlan(models=models, start=Start(serve=("x",))).request()["parts"]
    assert [one["modality"] for one in sent] == ["audio", "image", "video"]
    assert sent[1]["part"] == next(item for item in ITEMS if item.modality == "image").part()
    assert SmokePlan(models=models, start=Start()).request()["parts"] == []


def test_each_model_has_jobs_of_its_own_and_what_has_no_weights_is_not_run() -> None:
    models = (ProbedModel(family="llava"), ProbedModel(config="/m"))
    names = expand(SmokePlan(models=models, checks=("architecture", "tokens", "engine")).request())
    assert {name for name in names if name.endswith("@1")} == {
        "architecture@1", "engine.vllm@1", "engine.tight@1", "tokens.audio@1", "tokens.image@1",
        "tokens.video@1",
    }  # fmt: skip
    assert {"tokens.mixed", "engine.run"} <= set(names)
    only = SmokePlan(models=models, checks=("tokens",), jobs=("tokens.image",)).request()
    assert expand(only) == ["tokens.image", "tokens.image@1"]
