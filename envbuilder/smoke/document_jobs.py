"""The types of the probe's document: what each kind of job reports.

They name what the judge relies on; a job may report more, which the cause book may ask for. A job
that stopped on its way has only a part of its facts, so most may be unset.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

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
        if self.outcome in REASONED and self.failure is None:
            raise ValueError(f"the outcome {self.outcome} comes with a failure")

    def _needs(self, *names: str) -> None:
        """Refuse a job that is done without the facts ``names``."""
        lacking = [name for name in names if getattr(self.facts, name) is UNSET]
        if self.outcome == "done" and lacking:
            raise ValueError(f"it is done, but its facts lack {', '.join(lacking)}")


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


class Lifted(Struct, kw_only=True):
    """What an attempt to lift the cap on pixels gave."""

    how: str
    placeholders: Count | UnsetType = UNSET


class TokenFacts(Struct, kw_only=True):
    """Who counts, and at which token."""

    degraded: bool = False
    processor: str | UnsetType = UNSET
    tokenizer: str | UnsetType = UNSET
    family: str | UnsetType = UNSET
    transformers: str | UnsetType = UNSET
    token: str | None = None
    token_id: int | None = None
    model_token_id: int | None = None
    token_splits_into: Count | None = None
    lifted: list[Lifted] = []


class TokenItem(Struct, kw_only=True):
    """The counts of one sample, or why there are none."""

    modality: Modality
    label: Word
    role: Role
    shape: list[Count] = []
    formula: Count | None = None
    placeholders: Count | UnsetType = UNSET
    embeddings: Count | None = None
    strays: dict[str, Count] = {}
    grid: list[Count] | None = None
    note: str = ""
    error: str | UnsetType = UNSET
    error_kind: str = ""
    seconds: Seconds = 0.0

    def __post_init__(self) -> None:
        if self.error is UNSET and self.placeholders is UNSET:
            raise ValueError(f"{self.label} has neither placeholders nor an error")


class TokensJob(Job, kw_only=True):
    """The job that counts one modality."""

    facts: TokenFacts  # type: ignore[assignment]
    items: list[TokenItem]  # type: ignore[assignment]


class MixedFacts(Struct, kw_only=True):
    """Which model was run."""

    identity: str | UnsetType = UNSET
    family: str | UnsetType = UNSET


class Prompt(Struct, kw_only=True):
    """One prompt that was run through the model."""

    label: Word
    error: str | UnsetType = UNSET
    placeholders: dict[str, Count] | UnsetType = UNSET
    embeddings: dict[str, Count] | UnsetType = UNSET
    finite: bool | UnsetType = UNSET
    dtype: str | UnsetType = UNSET
    logits: list[float | None] | UnsetType = UNSET
    generated: list[int] | UnsetType = UNSET
    margins: list[float | None] | UnsetType = UNSET
    spread: float | None = None

    def __post_init__(self) -> None:
        told = (self.placeholders, self.embeddings, self.finite, self.dtype)
        if self.error is UNSET and UNSET in told:
            raise ValueError(f"{self.label} lacks placeholders, embeddings, finite or dtype")
        if self.spread is not None and UNSET in (self.logits, self.generated, self.margins):
            raise ValueError(f"{self.label} lacks logits, generated or margins")


class MixedJob(Job, kw_only=True):
    """The job that generates."""

    facts: MixedFacts  # type: ignore[assignment]
    items: list[Prompt]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("identity")


class EngineFacts(Struct, kw_only=True):
    """What the engine reserves, and by what."""

    version: str | UnsetType = UNSET
    modalities: list[str] | UnsetType = UNSET
    declared: dict[str, Count] | None = None
    declared_by: str = ""
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
        if self.name == "engine.tight" and self.items:
            self._has("limit")

    def _has(self, *names: str) -> None:
        lacking = [name for name in names if getattr(self.facts, name) is UNSET]
        if lacking:
            raise ValueError(f"its facts lack {', '.join(lacking)}")


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


class SentFacts(Struct, kw_only=True):
    """Whether the tokenizer is the model's own."""

    real: bool | UnsetType = UNSET


class SentItem(Struct, kw_only=True):
    """What the processor makes of an item that a server was sent."""

    modality: Modality
    label: Word
    placeholders: Count
    added: int


class SentJob(Job, kw_only=True):
    """The job that counts what a server was sent."""

    facts: SentFacts  # type: ignore[assignment]
    items: list[SentItem]  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs("real")


_TYPES: dict[str, type[Job]] = {
    "environment": EnvironmentJob,
    "caches": CachesJob,
    "import": ImportJob,
    "tokens": TokensJob,
    "tokens.mixed": MixedJob,
    "engine": EngineJob,
    "engine.run": ServingJob,
    "gpu": GpuJob,
    "sent": SentJob,
    "start": StartJob,
    "start.run": StartRunJob,
}


def job_type(name: str) -> type[Job]:
    """Return the type of the job ``name``, by its whole name or by what stands before the dot."""
    return _TYPES.get(name) or _TYPES.get(name.partition(".")[0], Job)
