"""What the jobs report that look at what the image starts."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from .base import Count, Job, Size


class User(Struct, kw_only=True):
    """Who runs here."""

    uid: Count
    gid: Count
    name: str | None
    problem: str


class Folder(Struct, kw_only=True):
    """A folder that the image names."""

    path: str
    exists: bool
    enters: bool


class Home(Folder, kw_only=True):
    """The user's own folder; ``writable`` is None if that cannot be seen."""

    writable: bool | None
    named: bool


class Limits(Struct, kw_only=True):
    """What a command may use: bytes, and numbers of files; -1 is no limit."""

    shm: Size | None
    files: int
    memlock: int


class StartFacts(Struct, kw_only=True):
    """What the image starts, as whom and where."""

    args: list[str] | UnsetType = UNSET
    user: User | UnsetType = UNSET
    home: Home | UnsetType = UNSET
    workdir: Folder | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    roots: bool | UnsetType = UNSET
    read_roots: list[str] | UnsetType = UNSET


class Link(Struct, kw_only=True):
    """A link of the chain that starts the entry point."""

    role: str
    program: str
    path: str | None
    problem: str


class StartJob(Job, kw_only=True):
    """The job that looks at what the image starts."""

    facts: StartFacts  # type: ignore[assignment]
    items: list[Link]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("args", "user", "home", "workdir", "limits", "roots", "read_roots")


class Ran(Struct, kw_only=True):
    """How a command ended."""

    args: list[str]
    exit_code: int | None
    output: str


class StartRunJob(Job, kw_only=True):
    """The job that runs the spec's own command."""

    items: list[Ran]  # type: ignore[assignment]
