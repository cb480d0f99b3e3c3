"""The types of the probe's document: what each kind of job reports.

They name what the judge relies on; a job may report more, which the cause book may ask for. A job
that stopped on its way has only a part of its facts, so most may be unset.
"""

from __future__ import annotations

from .architecture import ArchitectureJob
from .base import Document, Job
from .engine import EngineJob, ServingJob
from .installed import CachesJob, EnvironmentJob, ImportJob
from .machine import GpuJob
from .start import ServeJob, StartJob, StartRunJob
from .tokens import MixedJob, SentJob, TokensJob

__all__ = ["Document", "Job", "job_type"]

_TYPES: dict[str, type[Job]] = {
    "environment": EnvironmentJob,
    "caches": CachesJob,
    "import": ImportJob,
    "architecture": ArchitectureJob,
    "tokens": TokensJob,
    "tokens.mixed": MixedJob,
    "engine": EngineJob,
    "engine.run": ServingJob,
    "gpu": GpuJob,
    "sent": SentJob,
    "start": StartJob,
    "start.run": StartRunJob,
    "start.serve": ServeJob,
}


def job_type(name: str) -> type[Job]:
    """Return the type of the job ``name``, by its whole name or by what stands before the dot."""
    return _TYPES.get(name) or _TYPES.get(name.partition(".")[0], Job)
