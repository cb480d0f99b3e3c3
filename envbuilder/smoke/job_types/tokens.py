"""What the jobs report that count tokens and run the model."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from .base import Count, Job, Modality, Role, Seconds, Word


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
    turned: Count | None = None
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
