"""A job of the cluster as a value, and the ids by which it is found again."""

from __future__ import annotations

from dataclasses import dataclass

from envbuilder.model.lock import Lock

from .needs import Need
from .package import Package


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One job: what it is called, in messages and by Ray, and what it needs."""

    name: str
    lock: Lock
    need: Need
    package: Package

    @property
    def title(self) -> str:
        """The environment, and the type of GPU where there is one."""
        return f"{self.name} on {self.need.gpu}" if self.need.gpu else self.name

    @property
    def key(self) -> str:
        """How the job's ids in Ray begin: what it is of, and on what."""
        kind = (self.need.gpu or "any").lower()
        return f"envbuilder-{self.name}-{kind}-{self.package.inputs[:16]}"

    def submission(self, number: int) -> str:
        """Return the id of the job's submission ``number``; the next ones are for what was lost."""
        return f"{self.key}-{number}"
