"""What a verification finds: all of it is collected before anyone judges."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any

from envbuilder.model.errors import MismatchError, NetworkError
from envbuilder.model.reference import Digest


class Level(enum.IntEnum):
    """How deep to look: each level includes those before it."""

    DIGEST = 0
    """The tag names the sealed manifest: one request, no body."""
    CONTENT = 1
    """Manifest and config say the sealed layers and settings: some 40 KB; other blobs are read."""
    EVIDENCE = 2
    """Signed statements satisfy the policy: some 3 KB more."""
    PACKAGES = 3
    """Where layers are not the sealed ones, all are read, and their packages compared."""


class FindingStatus(enum.StrEnum):
    """How one question was answered."""

    OK = "ok"
    NOTE = "note"
    """Not as sealed, but without effect on what runs; or not asked."""
    MISMATCH = "mismatch"
    UNKNOWN = "unknown"
    """We could not look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer; ``expected`` and ``actual`` are short texts that stand side by side."""

    level: Level
    subject: str
    status: FindingStatus
    expected: str = ""
    actual: str = ""
    explanation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All findings on one image; ``digest`` is what its tag names now, if that could be asked."""

    reference: str
    digest: Digest | None
    level: Level
    findings: tuple[Finding, ...]

    def count(self, status: FindingStatus) -> int:
        """Count the findings of one status."""
        return sum(finding.status is status for finding in self.findings)

    @property
    def ok(self) -> bool:
        """Whether every question was answered, and none badly."""
        return not self.count(FindingStatus.MISMATCH) and not self.count(FindingStatus.UNKNOWN)

    @property
    def exit_code(self) -> int:
        """0, 9 where something does not match, 10 where we could not look."""
        if self.count(FindingStatus.MISMATCH):
            return MismatchError.exit_code
        return NetworkError.exit_code if self.count(FindingStatus.UNKNOWN) else 0

    def to_dict(self) -> dict[str, Any]:
        """Render the verdict as plain JSON values."""
        return {
            "reference": self.reference,
            "digest": None if self.digest is None else str(self.digest),
            "level": int(self.level),
            "ok": self.ok,
            "findings": [
                {**asdict(finding), "level": int(finding.level), "status": str(finding.status)}
                for finding in self.findings
            ],
        }
