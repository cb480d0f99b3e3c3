"""The keys that evidence is trusted from: one, or several while a new one takes over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from . import dsse
from .keys import PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key, and the moment after which what it signs no longer counts; None if it always does."""

    key: PublicKey
    until: datetime | None = None

    def holds(self, moment: datetime | None) -> bool:
        """Return whether something of that signed ``moment`` counts; None if it has none."""
        return self.until is None or (moment is not None and moment <= self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """All trusted keys; what any one of them has signed counts."""

    keys: tuple[TrustedKey, ...]

    @classmethod
    def of(cls, *keys: PublicKey) -> Keyring:
        """Trust ``keys`` for good."""
        return cls(keys=tuple(TrustedKey(key=key) for key in keys))

    def open(self, envelope: bytes) -> tuple[bytes, tuple[TrustedKey, ...]] | None:
        """Return the payload of an envelope and which of the keys signed it; None if none did."""
        signers = tuple(each for each in self.keys if dsse.opened(envelope, each.key) is not None)
        payload = dsse.opened(envelope, signers[0].key) if signers else None
        return None if payload is None else (payload, signers)

    def signed(self, data: bytes, signature: str) -> bool:
        """Return whether a key that counts today made the ``signature`` (base64) of ``data``."""
        today = datetime.now(UTC)
        return any(
            each.holds(today) and dsse.is_signed(data, signature, each.key) for each in self.keys
        )
