"""What the jobs report that look at what the image starts."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from .base import Count, Job, Modality, Seconds, Size, Word


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


class ServeFacts(Struct, kw_only=True):
    """What was started, and when it was ready; ``silent`` says why it was not."""

    args: list[str] | UnsetType = UNSET
    ready: Seconds | UnsetType = UNSET
    silent: str | UnsetType = UNSET
    output: str = ""


class ServedItem(Struct, kw_only=True):
    """What the server said to one request, in tokens of its prompt."""

    label: Word
    modality: Modality | None = None
    error: str | UnsetType = UNSET
    prompt: Count | UnsetType = UNSET
    added: int | None = None
    placeholders: Count | None = None
    text: str = ""
    seconds: Seconds = 0.0

    def __post_init__(self) -> None:
        if self.error is UNSET and self.prompt is UNSET:
            raise ValueError(f"{self.label} has neither a prompt nor an error")


class ServeJob(Job, kw_only=True):
    """The job that starts the image's own server."""

    facts: ServeFacts  # type: ignore[assignment]
    items: list[ServedItem]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("args")
        facts = self.facts
        if self.outcome == "done" and (facts.ready is UNSET) and (facts.silent is UNSET):
            raise ValueError("it is neither ready nor silent")


class StartRunJob(Job, kw_only=True):
    """The job that runs the spec's own command."""

    items: list[Ran]  # type: ignore[assignment]
