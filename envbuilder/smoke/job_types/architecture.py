"""What the job reports that builds the model without weights."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from .base import Count, Job


class ArchitectureFacts(Struct, kw_only=True):
    """Which classes the model has; ``parameters`` are counted, not loaded."""

    transformers: str | UnsetType = UNSET
    config: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    parameters: Count | UnsetType = UNSET


class ArchitectureJob(Job, kw_only=True):
    """The job that builds the model without weights."""

    facts: ArchitectureFacts  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("transformers", "config", "model", "parameters")
