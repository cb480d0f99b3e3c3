"""Which lock an image was held against: a verdict means nothing without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.lock import Lock
from envbuilder.model.pylock import lock_checksum

from .findings import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A lock, the file that it was read from, and whether the image itself named it.

    An image that names its own lock proves that it is one of ours, not that it is the wanted one.
    """

    lock: Lock
    path: Path
    by_image: bool

    def to_dict(self) -> dict[str, str]:
        """Render as plain JSON values; ``named_by`` is ``--lock``, or ``image`` for its label."""
        return {
            "name": self.lock.spec.name,
            "path": str(self.path),
            "checksum": str(lock_checksum(self.lock)),
            "named_by": "image" if self.by_image else "--lock",
        }

    def line(self) -> str:
        """Say it in one line."""
        who = "named by the image's own label (--lock names another)"
        named = who if self.by_image else "named by --lock"
        return f"{self.path} ({lock_checksum(self.lock)}), {named}"

    def ending(self, verdict: Verdict) -> str:
        """Return the words that a verdict on an image ends with."""
        says = "the lock it names says" if self.by_image else "the lock says"
        words = {0: f"is what {says}", 9: f"is NOT what {says}"}
        return words.get(verdict.exit_code, "could not be verified")
