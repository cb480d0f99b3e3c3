"""What the jobs report that look at what is installed, left behind and imported."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from .base import Count, Job, Seconds, Size, Word


class Distribution(Struct, kw_only=True):
    """One distribution on the module path."""

    name: Word
    version: str
    place: str
    owned: bool
    active: bool
    installer: str = ""
    commit: str | None = None


class Damaged(Struct, kw_only=True):
    """A file that is not as its RECORD states."""

    path: str
    owner: str
    problem: str


class Files(Struct, kw_only=True):
    """What hashing the installed files gave."""

    hashed: Count
    bytes: Size
    seconds: Seconds
    damaged: list[Damaged]
    damaged_count: Count
    unlisted: list[str]
    unlisted_count: Count
    without_record: list[str]


class Broken(Struct, kw_only=True):
    """A requirement that nothing meets."""

    by: str
    needs: str
    found: str | None


class EnvironmentFacts(Struct, kw_only=True):
    """What is installed."""

    prefix: str | UnsetType = UNSET
    distributions: list[Distribution] | UnsetType = UNSET
    files: Files | UnsetType = UNSET
    requirements_note: str | UnsetType = UNSET
    broken_requirements: list[Broken] | UnsetType = UNSET
    unread_requirements: list[str] = []


class EnvironmentJob(Job, kw_only=True):
    """The job that looks at what is installed."""

    facts: EnvironmentFacts  # type: ignore[assignment] # narrower than any job's

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("prefix", "distributions", "files")
        if self.facts.requirements_note is UNSET:
            self._needs("broken_requirements")


class CacheFacts(Struct, kw_only=True):
    """Where caches were looked for."""

    looked_in: str | UnsetType = UNSET
    stale_bytecode: list[str] | UnsetType = UNSET


class Leftover(Struct, kw_only=True):
    """What an installer left behind."""

    tool: str
    path: str
    bytes: Size


class CachesJob(Job, kw_only=True):
    """The job that looks for leftovers."""

    facts: CacheFacts  # type: ignore[assignment]
    items: list[Leftover]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("looked_in", "stale_bytecode")


class Module(Struct, kw_only=True):
    """A module that was imported."""

    module: Word


class ImportJob(Job, kw_only=True):
    """The job that imports one distribution."""

    items: list[Module]  # type: ignore[assignment]
