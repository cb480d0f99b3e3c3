"""What the job reports that computes on GPUs."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from .base import Job


class GpuFacts(Struct, kw_only=True):
    """The driver, and what torch was built for."""

    driver: str | None = None
    driver_cuda: str | None = None
    torch: str | UnsetType = UNSET
    torch_cuda: str | None = None
    arch_list: list[str] = []
    unavailable: str | UnsetType = UNSET


class Device(Struct, kw_only=True):
    """One GPU."""

    name: str
    capability: Annotated[str, Meta(pattern=r"^\d{1,3}\.\d{1,3}\Z")]
    computes: bool


class GpuJob(Job, kw_only=True):
    """The job that computes on GPUs."""

    facts: GpuFacts  # type: ignore[assignment]
    items: list[Device]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("torch")
