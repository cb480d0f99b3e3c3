"""Judge the image's own server: it becomes ready, and takes an item of every modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from envbuilder.smoke.report import Check

from . import jobs
from .finding import Fault, conclude

Facts = Mapping[str, Any]


def judge(document: Facts) -> list[Check]:
    """Return the check ``start.serve``, or none if nothing was to be served."""
    job = jobs.named(document, "start.serve")
    if job is None:
        return []
    facts = job["facts"]
    findings = list(_findings(facts, job["items"]))
    stopped = jobs.failure(job) or (None if "silent" in facts else jobs.nothing_counted(job))
    if stopped:
        findings.append(stopped)
    answered = ", ".join(
        f"{item.get('modality') or 'text'} {item.get('prompt')}" for item in job["items"]
    )
    return [
        conclude(
            "start.serve",
            findings,
            good=(
                answered,
                f"`{_command(facts)}` is ready after {facts.get('ready', 0):.0f} s and answers "
                f"(tokens of each prompt: {answered})",
            ),
            seconds=job["seconds"],
            details={"facts": facts, "requests": job["items"]},
        )
    ]


def _command(facts: Facts) -> str:
    return " ".join(facts.get("args", ()))


def _findings(facts: Facts, items: list[Facts]) -> Iterator[Fault]:
    if "silent" in facts:
        lines = facts.get("output", "").strip().splitlines()
        said = f"; its last line: {lines[-1][:300]}" if lines else ""
        yield Fault(
            kind="serve-silent",
            text=f"`{_command(facts)}` does not serve: {facts['silent']}{said}",
            expected="a server that is ready",
            actual="none",
            facts={"message": f"{facts['silent']}\n{facts.get('output', '')}"},
        )
    for item in items:
        what = f"{item.get('modality') or ''} {item['label']}".strip()
        if "error" in item:
            yield Fault(
                kind="serve-refused",
                text=f"the server answers {what} with an error: {item['error']}",
                expected="an answer",
                actual="an error",
                facts={"message": item["error"], "modality": item.get("modality")},
            )
        elif (item.get("placeholders") or 0) > (item.get("added") or 0):
            yield Fault(
                kind="serve-lost",
                text=f"{what}: the processor makes {item['placeholders']} tokens of it, the "
                f"server's prompt is only {item['added']} longer than the text's",
                expected=f"at least {item['placeholders']} more",
                actual=str(item["added"]),
                facts={"modality": item.get("modality")},
            )
