"""The verdict of a smoke run as a value: checks, the token table, and the environment it saw.

``docs/reference/smoke-report.schema.json`` publishes the JSON form.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .touched import Touched


class CheckStatus(enum.StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    """What was measured is not what must hold."""
    SKIP = "skip"
    """Nothing to check here, and the explanation says why."""
    ERROR = "error"
    """The check itself could not come to a verdict (crash, time limit, missing library)."""
    UNPROVEN = "unproven"
    """What was asked for could not be judged, or nothing was compared: neither right nor wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A known reason for a mismatch, from the cause book."""

    id: str
    title: str
    cause: str
    cure: str
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding; ``expected`` and ``actual`` are short texts that stand side by side.

    ``model`` names the model that it is about, and is empty if it is about all of the image.
    """

    name: str
    status: CheckStatus
    expected: str = ""
    actual: str = ""
    explanation: str = ""
    cause: Cause | None = None
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """The counts (tokens) of one sample; ``None`` where a count was not taken, ``note`` says why.

    ``agree`` is false when any two of the counts that were taken differ.
    """

    modality: str
    sample: str
    role: str
    formula: int | None
    placeholders: int | None
    embeddings: int | None
    engine: int | None = None
    stated: int | None = None
    agree: bool = True
    note: str = ""
    grid: tuple[int, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVerdict:
    """What the checks of one model come to."""

    name: str
    verdict: CheckStatus
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a report is about, and who made it: without it a report belongs to no image.

    ``image`` is the digest of the manifest and ``lock`` the lock's checksum, where there are such;
    ``date`` is RFC 3339; ``runtime`` is what ran the container; ``driver`` is the host's, if any.
    """

    envbuilder: str
    date: str
    kernel: str
    image: str | None = None
    lock: str | None = None
    runtime: str | None = None
    driver: str | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Return (name, value) of everything that is known, for people."""
        return [(name, str(value)) for name, value in asdict(self).items() if value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a smoke run found.

    ``seconds`` is wall time, ``peak_memory`` (bytes) that of the largest process. ``touched`` is
    what of the image a start needs, if that was looked at.
    """

    subject: str
    verdict: CheckStatus
    summary: str
    checks: tuple[Check, ...]
    tokens: tuple[TokenRow, ...] = ()
    models: tuple[ModelVerdict, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: int = 0
    about: About | None = None
    touched: Touched | None = None

    @property
    def ok(self) -> bool:
        """Whether the image may be called known-good."""
        return self.verdict is CheckStatus.PASS

    def rows_by_model(self) -> list[tuple[str, list[TokenRow]]]:
        """Return (name, rows) of every model that was counted, in the order of the report."""
        names = dict.fromkeys(row.model for row in self.tokens)
        return [(name, [row for row in self.tokens if row.model == name]) for name in names]

    def passes(self, *, allow_unproven: bool) -> bool:
        """Return whether a command may end well: green, or unproven if that is allowed."""
        return self.ok or (allow_unproven and self.verdict is CheckStatus.UNPROVEN)

    def to_dict(self) -> dict[str, Any]:
        """Render the report as plain JSON values (schema version 1).

        Of what was touched it says how much, not which files.
        """
        body = asdict(replace(self, touched=None))
        del body["touched"]
        body["start"] = None if self.touched is None else self.touched.summary
        body["verdict"] = str(self.verdict)
        for check in body["checks"]:
            check["status"] = str(check["status"])
        for model in body["models"]:
            model["verdict"] = str(model["verdict"])
        return {"version": 1, **body}
