"""What every part of the probe's document has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct

Count = Annotated[int, Meta(ge=0, le=1 << 40)]
Size = Annotated[int, Meta(ge=0, le=1 << 56)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Word = Annotated[str, Meta(min_length=1, max_length=500)]
Modality = Literal["audio", "image", "video"]
Role = Literal["small", "typical", "edge", "maximum", "beyond", "own"]
Outcome = Literal[
    "done", "absent", "inapplicable", "uncountable", "error", "timeout", "memory", "crashed"
]
REASONED = ("absent", "inapplicable", "uncountable", "error")
"""Outcomes that come with a message."""


class Document(Struct, kw_only=True):
    """What stands beside the jobs: the machine, and what the whole run took."""

    version: int = 1
    python: str = ""
    executable: str = ""
    machine: str = ""
    libc: str = ""
    cores: Count | None = None
    seconds: Seconds = 0.0
    peak_memory: Size = 0


class Failure(Struct, kw_only=True):
    """What stopped a job."""

    kind: Word
    message: str = ""


class Job(Struct, kw_only=True):
    """What all jobs have in common."""

    name: Word
    outcome: Outcome
    seconds: Seconds
    facts: dict[str, Any]
    items: list[dict[str, Any]]
    doing: str | None = None
    failure: Failure | None = None
    finished: bool = False
    peak_memory: Size = 0
    output: str = ""
    exit_code: int | None = None

    def __post_init__(self) -> None:
        told = self.failure is not None and self.failure.message.strip()
        if self.outcome in REASONED and not told:
            raise ValueError(f"the outcome {self.outcome} comes with a failure that says why")

    def _needs(self, *names: str) -> None:
        """Refuse a job that is done without the facts ``names``."""
        lacking = self._lacking(names)
        if self.outcome == "done" and lacking:
            raise ValueError(f"it is done, but its facts lack {lacking}")

    def _has(self, *names: str) -> None:
        """Refuse a job without the facts ``names``, however it ended."""
        if lacking := self._lacking(names):
            raise ValueError(f"its facts lack {lacking}")

    def _lacking(self, names: Sequence[str]) -> str:
        return ", ".join(name for name in names if getattr(self.facts, name) is UNSET)
