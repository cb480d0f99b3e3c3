"""What the jobs report that ask the serving engine."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from envbuilder.smoke.probe.job import parted

from .base import Count, Job, Modality, Seconds, Word


class EngineFacts(Struct, kw_only=True):
    """What the engine reserves, and by what."""

    version: str | UnsetType = UNSET
    resolved: str | UnsetType = UNSET
    modalities: list[str] | UnsetType = UNSET
    refused: list[str] | UnsetType = UNSET
    context: Count | UnsetType = UNSET
    declared: dict[str, Count] | None = None
    declared_by: str | UnsetType = UNSET
    dummy: dict[str, Count] | UnsetType = UNSET
    start_up: str | None = None
    limit: Count | UnsetType = UNSET


class EngineItem(Struct, kw_only=True):
    """What the engine makes of one sample."""

    modality: Modality
    label: Word
    role: str = ""
    embeds: Count | UnsetType = UNSET
    tokens: Count | UnsetType = UNSET
    error: str | UnsetType = UNSET
    seconds: Seconds = 0.0

    def __post_init__(self) -> None:
        if self.error is UNSET and UNSET in (self.embeds, self.tokens):
            raise ValueError(f"{self.label} has neither embeds and tokens nor an error")


class EngineJob(Job, kw_only=True):
    """The jobs that ask the engine."""

    facts: EngineFacts  # type: ignore[assignment]
    items: list[EngineItem]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("version", "modalities")
        asked = (self.facts.dummy, self.facts.declared, self.facts.start_up)
        if any(fact not in (UNSET, None) for fact in asked):
            self._has("version", "modalities")
        if self.facts.declared is not None:
            self._has("declared_by")
        if self.items or self.facts.refused:
            self._has("version")
        if parted(self.name)[0] == "engine.tight" and self.items:
            self._has("limit")


class Served(Struct, kw_only=True):
    """One answered request."""

    label: Word
    error: str | UnsetType = UNSET
    prompt: Count | UnsetType = UNSET
    expected: Count | UnsetType = UNSET
    tokens: dict[str, Count] = {}
    expected_tokens: dict[str, Count] = {}
    samples: dict[str, str] = {}
    generated: list[int] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.error is not UNSET:
            return
        if UNSET in (self.prompt, self.expected, self.generated):
            raise ValueError(
                f"{self.label} has neither prompt, expected and generated nor an error"
            )
        if not self.expected_tokens.keys() <= self.tokens.keys() & self.samples.keys():
            raise ValueError(f"{self.label} counts another item than it expects")


class ServingJob(Job, kw_only=True):
    """The job that serves."""

    facts: EngineFacts  # type: ignore[assignment]
    items: list[Served]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("version")
        if self.items:
            self._has("version")
