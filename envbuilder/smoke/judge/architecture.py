"""Judge whether transformers and the engine know the model at all: a server starts with that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envbuilder.smoke.report import Check

from . import jobs
from .engine import unresolved
from .finding import conclude


def judge(document: Mapping[str, Any]) -> list[Check]:
    """Return the check ``architecture``, and of an engine that was asked ``architecture.vllm``."""
    job, engine = (jobs.named(document, name) for name in ("architecture", "engine.vllm"))
    if job is None:
        return []
    return [_transformers(job), *([_engine(engine)] if engine and _was_asked(engine) else [])]


def _transformers(job: jobs.Job) -> Check:
    facts, stopped = job["facts"], jobs.failure(job)
    size = f"{facts.get('parameters', 0):,} parameters"
    return conclude(
        "architecture",
        [stopped] if stopped else [],
        good=(
            str(facts.get("model", "")),
            f"transformers {facts.get('transformers')} builds {facts.get('model')} ({size}) of its "
            f"{facts.get('config')}",
        ),
        seconds=job["seconds"],
        details={"facts": facts},
    )


def _was_asked(engine: jobs.Job) -> bool:
    """Return whether vLLM got as far as resolving the architecture."""
    return "resolved" in engine["facts"]


def _engine(job: jobs.Job) -> Check:
    resolved, version = job["facts"]["resolved"], job["facts"].get("version")
    stopped = jobs.failure(job) if unresolved(job) else None
    return conclude(
        "architecture.vllm",
        [stopped] if stopped else [],
        good=(resolved, f"vLLM {version} resolves {resolved} and makes its configuration"),
        details={"resolved": resolved},
    )
