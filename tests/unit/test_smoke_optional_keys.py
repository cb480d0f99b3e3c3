"""Of whatever keys a job leaves out, the judge never raises: what it needs, the type asks for."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any, get_args

import pytest
from msgspec import inspect

from envbuilder.smoke import CheckStatus
from envbuilder.smoke.document import read_document
from envbuilder.smoke.job_types import job_type
from envbuilder.smoke.job_types.base import REASONED, Outcome
from envbuilder.smoke.judge import judge
from envbuilder.smoke.probe.job import parted
from tests.unit.smoke_documents import PLAN

NAMES = (
    "environment", "caches", "import.torch", "architecture", "tokens.image", "tokens.mixed",
    "engine.vllm", "engine.tight", "engine.tight@1", "engine.run", "gpu", "sent", "start",
    "start.run", "start.serve", "another",
)  # fmt: skip
OUTCOMES = get_args(Outcome)
SECOND = replace(PLAN, models=(*PLAN.models, replace(PLAN.models[0], label="second")))
PLANS = {
    "gpu": (PLAN, replace(PLAN, gpu="required")),
    "engine.run": (PLAN, replace(PLAN, gpu="required")),
    "engine.tight@1": (SECOND,),
}
"""What the judge is asked, where that changes what it reads."""
BESIDE = ("environment", "tokens.image", "tokens.mixed", "engine.vllm")
"""Jobs that others are compared with."""
ITEM = {"modality": "image", "label": "one", "role": "maximum", "capability": "9.0"}
"""What makes items of several jobs the same one, or has a form of its own."""

Path = tuple[str | int, ...]


def whole(kind: inspect.Type, numbers: Iterator[int], name: str = "") -> Any:
    """Return a value of ``kind`` with every key that it may have; no two numbers are the same."""
    if isinstance(kind, inspect.StructType):
        return {each.name: whole(each.type, numbers, each.name) for each in kind.fields}
    if isinstance(kind, inspect.UnionType):
        return whole(kind.types[0], numbers, name)
    if isinstance(kind, inspect.ListType):
        return [whole(kind.item_type, numbers)]
    if isinstance(kind, inspect.DictType):
        return {"image": whole(kind.value_type, numbers)}
    if isinstance(kind, inspect.StrType | inspect.LiteralType):
        return ITEM.get(name, "image")
    if isinstance(kind, inspect.BoolType):
        return False
    return next(numbers)


def optional(kind: inspect.Type, path: Path = ()) -> Iterator[Path]:
    """Yield the place of each key that may be left out."""
    if isinstance(kind, inspect.UnionType):
        yield from optional(kind.types[0], path)
    elif isinstance(kind, inspect.ListType):
        yield from optional(kind.item_type, (*path, 0))
    elif isinstance(kind, inspect.StructType):
        for each in kind.fields:
            if not each.required:
                yield (*path, each.name)
            yield from optional(each.type, (*path, each.name))


def without(value: Any, places: set[Path], path: Path = ()) -> Any:
    """Return ``value`` less what stands at ``places``."""
    if isinstance(value, list):
        return [without(each, places, (*path, at)) for at, each in enumerate(value)]
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if (*path, key) not in places}
        return {key: without(each, places, (*path, key)) for key, each in kept.items()}
    return value


def full(name: str, numbers: Iterator[int]) -> dict[str, Any]:
    """Return the job ``name`` with every key that its type knows."""
    kind = inspect.type_info(job_type(parted(name)[0]))
    return {**whole(kind, numbers), "name": name}


def variants(name: str, outcome: str) -> Iterator[dict[str, Any]]:
    """Yield jobs with no key, with each alone, with all, and with all but one, that may be absent.

    Those with all come with and without what says that the item, or the whole job, failed.
    """
    most = {**full(name, count(1)), "outcome": outcome}
    places = set(optional(inspect.type_info(job_type(parted(name)[0]))))
    reason = {place for place in places if place[0] == "failure"}
    bare = places - reason if outcome in REASONED else places
    yield without(most, bare)
    yield {**without(most, bare), "items": []}
    for place in places:
        around = {place[:at] for at in range(1, len(place))}
        yield without(most, bare - around - {place})
    failed = {place for place in places if place[-1] in {"error", "silent"}}
    for each in (most, without(most, failed)):
        yield each
        yield {**each, "items": []}
        yield {**each, "failure": None}
        yield from (without(each, {place}) for place in places)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("name", NAMES)
def test_the_judge_never_raises_whatever_keys_a_job_leaves_out(name: str, outcome: str) -> None:
    compared = BESIDE if name.startswith(("tokens", "engine")) else ()
    beside = [{**full(one, count(1000)), "outcome": "done"} for one in compared if one != name]
    for job in variants(name, outcome):
        text = json.dumps({"version": 1, "jobs": [job, *beside]}).encode()
        found = read_document(text, wanted=[name, *(one["name"] for one in beside)])
        for plan in PLANS.get(name, (PLAN,)):
            report = judge(plan, found, subject="it")
            assert all(check.explanation.strip() for check in report.checks), job


def _checks(job: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps({"version": 1, "jobs": [{"seconds": 1, "items": [], "facts": {}} | job]})
    report = judge(PLAN, read_document(text.encode(), wanted=[job["name"]]), subject="it")
    assert not report.ok
    return {check.name: check for check in report.checks}


ITEMS = [{"modality": "image", "label": "one", "embeds": 3, "tokens": 4}]
DECLARED = {"version": "1", "modalities": ["image"], "declared": {"image": 3}}


@pytest.mark.parametrize(
    ("job", "check", "words"),
    [
        ({"name": "engine.vllm", "outcome": "inapplicable", "failure": {"kind": "x"}},
         "engine.reserve", "comes with a failure that says why"),
        ({"name": "engine.vllm", "outcome": "done", "facts": DECLARED, "items": ITEMS},
         "engine.reserve", "its facts lack declared_by"),
        ({"name": "engine.vllm", "outcome": "crashed", "facts": {"refused": ["video"]}},
         "engine.reserve", "its facts lack version"),
        ({"name": "engine.vllm", "outcome": "crashed", "items": ITEMS},
         "engine.reserve", "its facts lack version"),
        ({"name": "engine.run", "outcome": "crashed", "items": [{"label": "one", "error": "no"}]},
         "engine.run", "its facts lack version"),
    ],
)  # fmt: skip
def test_a_job_without_what_its_check_says_is_an_error_with_the_place(
    job: dict[str, Any], check: str, words: str
) -> None:
    found = _checks(job)[check]
    assert found.status is CheckStatus.ERROR
    assert words in found.explanation


def test_a_served_item_that_adds_no_tokens_was_lost() -> None:
    item = {"label": "one", "modality": "image", "prompt": 9, "placeholders": 4}
    facts = {"args": ["serve"], "ready": 1}
    job = {"name": "start.serve", "outcome": "done", "facts": facts, "items": [item]}
    found = _checks(job)["start.serve"]
    assert found.status is CheckStatus.FAIL
    assert "the processor makes 4 tokens of it" in found.explanation


def test_what_a_job_says_beside_its_type_is_kept_and_what_it_leaves_out_is_filled_in() -> None:
    item = {"label": "one", "error": "no", "error_kind": "memory"}
    job = {"name": "engine.run", "outcome": "done", "seconds": 1, "facts": {"version": "1"}}
    text = json.dumps({"jobs": [{**job, "items": [item], "more": [{"a": None}]}]}).encode()
    (found,) = read_document(text, wanted=["engine.run"])["jobs"]
    assert found["items"] == [item | {"tokens": {}, "expected_tokens": {}, "samples": {}}]
    assert found["more"] == [{"a": None}]
    assert (found["doing"], found["exit_code"], found["output"]) == (None, None, "")
    assert found["facts"] == {"version": "1", "declared": None, "start_up": None}
