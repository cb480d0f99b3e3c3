"""Judge a running server: the tokens that an item adds to a prompt, against the processor's count.

A server tells the length of a whole prompt, and so does the processor. What the server's chat
template puts around an item is the same for every item of a modality, so it is learnt from them:
all items must be longer by the same number of tokens than the processor made them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuilder.smoke.probe.samples import MODALITIES
from envbuilder.smoke.report import Check, CheckStatus, TokenRow

from .finding import Fault, conclude, skipped, unproven

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the processor makes of an item: placeholders, and with the text around them ``added``.

    ``added`` is None if it cannot be compared: by the text beside an item, in another tokenizer.
    """

    placeholders: int
    added: int | None


Counts = Mapping[tuple[str, str], Counted]
"""What the processor makes of each item, by (modality, label)."""


def judge(facts: Facts, expected: Counts | None) -> tuple[Check, ...]:
    """Return one check per modality that was sent, and one of all of them together."""
    sent = [kind for kind in MODALITIES if any(one["modality"] == kind for one in facts["items"])]
    checks = [_modality(facts, expected, kind) for kind in sent]
    if all(check.status is CheckStatus.SKIP for check in checks):
        checks = [_nothing_taken(check) for check in checks]
    return (*checks, *_together(facts))


def rows(facts: Facts, expected: Counts | None) -> tuple[TokenRow, ...]:
    """Return the token table: the server's counts less what its template adds."""
    table = []
    for answer in facts["items"]:
        if "prompt" not in answer:
            continue
        modality, label = answer["modality"], answer["label"]
        around = _around(facts, expected, modality)
        known = None if expected is None else expected[modality, label]
        placeholders = known.placeholders if known else None
        engine = answer["prompt"] - facts["text"]
        if known and known.added is not None and around is not None:
            engine -= around + known.added - known.placeholders
        table.append(
            TokenRow(
                modality=modality,
                sample=label,
                role=answer["role"],
                formula=None,
                placeholders=placeholders,
                embeddings=None,
                engine=engine,
                agree=around is None or engine == placeholders,
                note="with the text around it" if around is None else "",
            )
        )
    return tuple(table)


def _modality(facts: Facts, expected: Counts | None, modality: str) -> Check:
    name = f"server.{modality}"
    answers = [one for one in facts["items"] if one["modality"] == modality]
    seconds = sum(one["seconds"] for one in answers)
    refused = [one for one in answers if "error" in one]
    if expected is None and len(refused) == len(answers) and _declined(refused):
        why = f"the server takes no {modality} ({refused[0]['status']}): {refused[0]['error']}"
        return skipped(name, why, seconds=seconds)
    findings = [_refusal(one) for one in refused]
    counted = [one for one in answers if "prompt" in one]
    findings += _unsteady(facts, modality, counted)
    findings += [found for one in counted for found in _count(facts, expected, one)]
    added = ", ".join(f"{one['label']} {one['prompt'] - facts['text']}" for one in counted)
    if expected is not None and not findings and _around(facts, expected, modality) is None:
        why = (
            f"the server adds {added} tokens, not compared: the processor writes text beside each "
            "frame, whose length only the model's own tokenizer tells (--local with --model DIR)"
        )
        return unproven(name, why, seconds=seconds)
    return conclude(
        name,
        findings,
        good=(added, _good(facts, expected, modality, added)),
        seconds=seconds,
        details={"text": facts["text"], "prompts": answers},
    )


def _good(facts: Facts, expected: Counts | None, modality: str, added: str) -> str:
    """Say what was compared, so that green claims no more than it is."""
    if expected is None:
        return (
            f"the server adds {added} tokens, the same when asked again; nothing to compare them "
            "with was given, so that they are right is not shown"
        )
    around = _around(facts, expected, modality) or 0
    return f"the server adds what the processor makes of each, {around:+d} of its chat template"


def _count(facts: Facts, expected: Counts | None, answer: Facts) -> Iterator[Fault]:
    """Yield what is wrong with the tokens that one item adds."""
    modality, label = answer["modality"], answer["label"]
    added = answer["prompt"] - facts["text"]
    if added < 1:
        yield Fault(
            kind="server-drops-item",
            text=f"{modality} {label} adds {added} tokens to the prompt: the server drops it",
            expected="at least 1",
            actual=str(added),
            facts={"modality": modality},
        )
        return
    around = _around(facts, expected, modality)
    if expected is None or around is None:
        return
    known = expected[modality, label]
    if known.added is not None and (added - around != known.added or added < known.placeholders):
        yield Fault(
            kind="engine-processor",
            text=f"{modality} {label}: the server adds {added} tokens to the prompt, the "
            f"processor makes {known.placeholders} placeholders with "
            f"{known.added - known.placeholders} beside them; most others differ by {around:+d}",
            expected=str(max(known.added + around, known.placeholders)),
            actual=str(added),
            facts={"modality": modality, "difference": added - around - known.added},
        )


def _around(facts: Facts, expected: Counts | None, modality: str) -> int | None:
    """Return by how much most items are longer than the processor makes them: the template's own.

    None if nothing is there to compare.
    """
    rests = [
        one["prompt"] - facts["text"] - known.added
        for one in facts["items"]
        if one["modality"] == modality and "prompt" in one
        if (known := (expected or {}).get((modality, one["label"]))) and known.added is not None
    ]
    return statistics.mode(rests) if rests else None


def _refusal(answer: Facts) -> Fault:
    """Say that the server did not answer: 4xx is its verdict, anything else is none."""
    what, status = f"{answer['modality']} {answer['label']}", answer["status"]
    code = f" ({status})" if status else ""
    return Fault(
        kind="server-refuses",
        text=f"the server does not answer {what}{code}: {answer['error']}",
        expected="an answer",
        actual=str(status or "none"),
        status=CheckStatus.FAIL if _declined([answer]) else CheckStatus.ERROR,
        facts={"modality": answer["modality"], "message": answer["error"]},
    )


def _declined(answers: Sequence[Facts]) -> bool:
    return all(one["status"] is not None and one["status"] < 500 for one in answers)


def _unsteady(facts: Facts, modality: str, counted: Sequence[Facts]) -> Iterator[Fault]:
    """Yield where the same item counts otherwise the second time (a cache that answers wrongly)."""
    first = {one["label"]: one["prompt"] for one in counted}
    for again in facts["again"]:
        label = again["label"]
        if again["modality"] != modality or label not in first:
            continue
        if "error" in again:
            yield _refusal(again)
        elif again["prompt"] != first[label]:
            yield Fault(
                kind="server-unsteady",
                text=f"{modality} {label}: the same prompt has {first[label]} tokens, then "
                f"{again['prompt']}",
                expected=str(first[label]),
                actual=str(again["prompt"]),
                facts={"modality": modality},
            )


def _together(facts: Facts) -> list[Check]:
    """Judge the prompt with one item of each modality: as much longer as all of them are."""
    answer = facts.get("together")
    if answer is None:
        return []
    kinds = answer["modalities"]
    what = ", ".join(kinds)
    if "error" in answer:
        finding = _refusal({**answer, "modality": what, "label": "together"})
        return [conclude("server.together", [finding], good=("", ""), seconds=answer["seconds"])]
    alone = {one["modality"]: one for one in facts["items"] if one["role"] == "small"}
    parts = sum(alone[kind]["prompt"] - facts["text"] for kind in kinds)
    added = answer["prompt"] - facts["text"]
    findings = []
    if parts != added:
        text = f"{what} add {parts} tokens one by one, but {added} in one prompt"
        findings.append(
            Fault(kind="server-together", text=text, expected=str(parts), actual=str(added))
        )
    return [
        conclude(
            "server.together",
            findings,
            good=(str(added), f"{what} in one prompt add as many tokens as one by one ({added})"),
            seconds=answer["seconds"],
        )
    ]


def _nothing_taken(check: Check) -> Check:
    """Turn the skip of a server that takes nothing at all into what it is."""
    finding = Fault(kind="server-refuses", text=check.explanation, expected="an answer")
    return conclude(check.name, [finding], good=("", ""), seconds=check.seconds)
