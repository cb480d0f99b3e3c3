"""Numbers that a document states twice: two answers to one question cannot both be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .probe.job import parted

SHARED = {"tokens.": ("transformers", "family"), "engine.": ("version",)}
"""Facts that all jobs of a group state alike."""
COUNTED = ("placeholders", "formula", "embeddings", "embeds", "tokens", "prompt")
"""What is counted of an item."""

Job = Mapping[str, Any]


def contradictions(jobs: Sequence[Job]) -> Iterator[str]:
    """Yield where ``jobs`` answer the same question in two ways."""
    for job in jobs:
        yield from _items(job)
    for number in sorted({parted(job["name"])[1] for job in jobs}):
        own = [job for job in jobs if parted(job["name"])[1] == number]
        yield from _shared(own)


def _shared(jobs: Sequence[Job]) -> Iterator[str]:
    """Yield what the jobs of one model state otherwise than each other."""
    for prefix, names in SHARED.items():
        group = [job for job in jobs if job["name"].startswith(prefix)]
        for name in names:
            said = {str(job["facts"][name]) for job in group if name in job["facts"]}
            if len(said) > 1:
                yield f"{prefix}*: {name} is {' in one job, '.join(sorted(said))} in another"


def _items(job: Job) -> Iterator[str]:
    """Yield the items of ``job`` that were counted twice with two results."""
    seen: dict[tuple[str, str], Mapping[str, Any]] = {}
    for item in job["items"]:
        if "label" not in item:
            continue
        key = str(item.get("modality", "")), str(item["label"])
        first = seen.setdefault(key, item)
        for name in COUNTED:
            one, other = first.get(name), item.get(name)
            if None not in (one, other) and one != other:
                what = " ".join(filter(None, key))
                yield f"{job['name']}: {name} of {what} is {one}, and {other} when asked again"
