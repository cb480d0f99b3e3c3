"""Judge the answers: whether they are those of the last good build, and if not, what moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from envbuilder.smoke.answers import Answer, Answers
from envbuilder.smoke.plan import ProbedModel
from envbuilder.smoke.report import Check, CheckStatus

from . import jobs
from .finding import Fault, conclude, skipped

TOLERANCE = 3e-4
"""How far a logit may lie off, in standard deviations of the logits, with weights of 32 bits.

Measured on the tiny Qwen2.5-Omni: SSE, AVX2 and AVX-512 kernels differ by 6e-6; rotary positions in
another section by 1.3e-3, weights of 16 bits by 1.2e-2, wrong normalisation by 4e-2 to 0.6.
"""
COARSE = 5e-2
"""The same with weights of 16 bits, which keep 8 bits of each number."""
NAMED = 4
"""How many packages that moved are worth naming."""


def judge(model: ProbedModel, document: Mapping[str, Any]) -> list[Check]:
    """Return the check ``tokens.answers``, or none if no prompt was answered.

    Red is only what cannot be: the same weights in the same packages give other answers.
    """
    found = answers_of(document)
    if found is None:
        return []
    details = {"answers": found.to_dict()}
    if model.answers is None:
        why = "no answers are recorded to compare with; a green build records them"
        return [skipped("tokens.answers", why, details=details)]
    differing = list(_differing(model.answers, found))
    moved = _moved(model.answers, found)
    if moved:
        return [_after_a_move(differing, moved, details)]
    findings = [
        Fault(
            kind="answers-differ",
            text=f"{text}, though no package changed since they were recorded; if that is right, "
            "delete its answers.json beside the spec and build again",
            expected="the recorded answer",
            actual=f"{distance:.2g} deviations off",
        )
        for text, distance in differing
    ]
    count = len(found.prompts)
    good = (f"{count} answers", f"logits and greedy tokens of {count} prompts are as recorded")
    return [conclude("tokens.answers", findings, good=good, details=details)]


def answers_of(document: Mapping[str, Any]) -> Answers | None:
    """Return the answers that the probe saw, where it also saw the packages."""
    mixed, environment = (jobs.named(document, one) for one in ("tokens.mixed", "environment"))
    if mixed is None or environment is None:
        return None
    answered = [item for item in mixed["items"] if _is_whole(item)]
    if not answered or mixed["outcome"] != "done" or environment["outcome"] != "done":
        return None
    return Answers(
        identity=mixed["facts"]["identity"],
        packages={
            "python": document["python"],
            "libc": document["libc"],
            **{
                entry["name"]: entry.get("commit") or entry["version"]
                for entry in environment["facts"]["distributions"]
                if entry["active"]
            },
        },
        prompts={
            item["label"]: Answer(
                dtype=item["dtype"],
                logits=tuple(item["logits"]),
                spread=item["spread"],
                generated=tuple(item["generated"]),
                margins=tuple(item["margins"]),
            )
            for item in answered
        },
    )


def _is_whole(item: Mapping[str, Any]) -> bool:
    """Return whether ``item`` holds numbers alone: NaN and infinity came as none."""
    numbers = (item.get("spread"), *item.get("logits", ()), *item.get("margins", ()))
    return "error" not in item and None not in numbers


def _moved(before: Answers, after: Answers) -> list[str]:
    """Say what is not the same environment: weights, then packages by name."""
    weights = [] if before.identity == after.identity else ["the weights"]
    names = sorted({*before.packages, *after.packages})
    told = (
        f"{name} {before.packages.get(name, 'absent')} → {after.packages.get(name, 'absent')}"
        for name in names
        if before.packages.get(name) != after.packages.get(name)
    )
    return [*weights, *told]


def _differing(before: Answers, after: Answers) -> Iterator[tuple[str, float]]:
    """Yield the prompts that were answered otherwise, in words, and by how many deviations."""
    for label, new in after.prompts.items():
        old = before.prompts.get(label)
        if old is None:
            continue
        distance = _distance(old, new)
        if old.dtype != new.dtype:
            yield f"{label}: the weights are {new.dtype}, were {old.dtype}", distance
        elif distance > _tolerance(old):
            yield f"{label}: logits are off by {distance:.2g} standard deviations", distance
        elif (at := _parting(old, new)) is not None:
            yield f"{label}: token {at + 1} of the greedy answer is another", distance
    for label in before.prompts.keys() - after.prompts.keys():
        yield f"{label}: not answered any more", 0.0


def _distance(old: Answer, new: Answer) -> float:
    """Return the farthest logit's distance, in standard deviations."""
    if len(old.logits) != len(new.logits):
        return float("inf")
    pairs = zip(old.logits, new.logits, strict=True)
    return max((abs(one - other) for one, other in pairs), default=0.0) / (old.spread or 1.0)


def _tolerance(answer: Answer) -> float:
    return TOLERANCE if answer.dtype == "torch.float32" else COARSE


def _parting(old: Answer, new: Answer) -> int | None:
    """Return where the tokens part for good; a token that won by a hair may lose elsewhere."""
    steps = zip(old.generated, new.generated, old.margins, strict=False)
    for at, (one, other, margin) in enumerate(steps):
        if one != other:
            return at if margin > 2 * _tolerance(old) * old.spread else None
    return None


def _after_a_move(
    differing: list[tuple[str, float]], moved: list[str], details: dict[str, Any]
) -> Check:
    """Return whether the answers moved with the packages: news, not a failure."""
    more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
    since = f"since they were recorded: {', '.join(moved[:NAMED])}{more}"
    text = f"answers are as recorded, with other packages {since}"
    if differing:
        worst = max(differing, key=lambda one: one[1])
        text = f"answers moved ({len(differing)} prompts; {worst[0]}), with packages {since}"
    return Check(
        name="tokens.answers",
        status=CheckStatus.PASS,
        expected="the recorded answers",
        actual="moved" if differing else "the same",
        explanation=text,
        details={**details, "moved": moved, "differing": [text for text, _ in differing]},
    )
