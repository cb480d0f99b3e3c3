"""Talk to a server: a text alone, every item, the small ones again, and all modalities together."""

from __future__ import annotations

import time
from typing import Any

from envbuilder.model.errors import NetworkError, SmokeError
from envbuilder.smoke.judge import judge_server
from envbuilder.smoke.judge.server import Counts
from envbuilder.smoke.media import ITEMS, Item
from envbuilder.smoke.probe.samples import MODALITIES
from envbuilder.smoke.report import Report

from .client import RefusedError, Server

TEXT = {"type": "text", "text": "Describe."}
Answer = dict[str, Any]


def smoke_server(server: Server, expected: Counts | None) -> Report:
    """Ask ``server`` for the length of every prompt and return the verdict.

    ``expected`` None: there is nothing to compare with but the server itself. Otherwise only
    modalities that it names are sent. After a request that no answer came to, nothing more is
    sent: each would wait as long. Raises NetworkError and SmokeError if the server cannot even
    answer a text.
    """
    started = time.monotonic()
    model = server.model()
    known = set(MODALITIES) if expected is None else {kind for kind, _ in expected}
    items = [item for item in ITEMS if item.modality in known]
    facts: dict[str, Any] = {"url": server.base, "model": model, "text": _text(server, model)}
    small = [item for item in items if item.role == "small"]
    facts["items"] = _one_by_one(server, model, items)
    facts["again"] = _one_by_one(server, model, [] if _silent(facts["items"]) else small)
    taken = [item for item in small if _is_taken(facts["items"], item)]
    if len(taken) > 1 and not _silent(facts["items"] + facts["again"]):
        facts["together"] = _ask(server, model, taken)
    return judge_server(facts, expected, seconds=time.monotonic() - started)


def _text(server: Server, model: str) -> int:
    """Return the length of the prompt without any item."""
    try:
        return server.prompt_tokens(model, [TEXT])
    except RefusedError as error:
        if error.status in {401, 403}:  # some list their models to anybody
            raise server.unfit(error) from error
        raise SmokeError(
            f"{server.base} does not answer even a text ({error.status}): {error}",
            hint="see the server's log; some models need a chat template",
        ) from error


def _one_by_one(server: Server, model: str, items: list[Item]) -> list[Answer]:
    """Ask for each item alone, up to the first that no answer comes to."""
    answers: list[Answer] = []
    for item in items:
        answers.append(_ask(server, model, [item]) | _named(item))
        if _silent(answers):
            break
    return answers


def _silent(answers: list[Answer]) -> bool:
    return any("error" in answer and answer["status"] is None for answer in answers)


def _ask(server: Server, model: str, items: list[Item]) -> Answer:
    """Return ``prompt`` (tokens), or how the server declined."""
    started = time.monotonic()
    answer: Answer = {"modalities": [item.modality for item in items]}
    try:
        answer["prompt"] = server.prompt_tokens(model, [*(one.part() for one in items), TEXT])
    except RefusedError as error:
        answer |= {"status": error.status, "error": str(error)}
    except NetworkError as error:
        answer |= {"status": None, "error": error.message}
    answer["seconds"] = round(time.monotonic() - started, 3)
    return answer


def _named(item: Item) -> Answer:
    return {"modality": item.modality, "label": item.label, "role": item.role}


def _is_taken(answers: list[Answer], item: Item) -> bool:
    return any(
        "prompt" in answer
        for answer in answers
        if (answer["modality"], answer["label"]) == (item.modality, item.label)
    )
