"""Whose signatures count: keys, and identities whose keys live for minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from . import dsse
from .bundle import Document
from .identities import Proof, TrustedIdentity, UntrustedError
from .keys import PublicKey
from .timestamps import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key, and the moment after which what it signs no longer counts; None if it always does.

    With a ``clock``, only what that has stamped counts.
    """

    key: PublicKey
    until: datetime | None = None
    clock: Clock | None = None

    def holds(self, moment: datetime | None) -> bool:
        """Return whether something of that signed ``moment`` counts; None if it has none."""
        return self.until is None or (moment is not None and moment <= self.until)

    def prove(self, document: Document) -> Proof:
        """Return what ``document`` says if this key signed it; raise UntrustedError if not."""
        opened = dsse.opened_with(document.envelope, self.key)
        if opened is None:
            raise UntrustedError("")
        if self.clock is None:
            return Proof(payload=opened.payload)
        since = self.clock.moment(opened.signature, document.stamps)
        if since is None:
            raise UntrustedError("has no valid time stamp")
        return Proof(payload=opened.payload, since=since)


Trusted = TrustedKey | TrustedIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a document says, who of those trusted vouches for it, and since when it is there.

    Without a time stamp or a log ``since`` is None: then only the statement itself tells.
    """

    payload: bytes
    signers: tuple[Trusted, ...]
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A document that counts for nothing; ``why`` is empty where it is by another key."""

    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """All that are trusted; what any one of them has signed counts."""

    keys: tuple[TrustedKey, ...] = ()
    identities: tuple[TrustedIdentity, ...] = ()

    @classmethod
    def of(cls, *keys: PublicKey) -> Keyring:
        """Trust ``keys`` for good."""
        return cls(keys=tuple(TrustedKey(key=key) for key in keys))

    def open(self, document: Document) -> Opened | Refused:
        """Return what a document says if anyone trusted has signed it."""
        trusted: tuple[Trusted, ...] = (*self.keys, *self.identities)
        proven: list[tuple[Trusted, Proof]] = []
        why = ""
        for each in trusted:
            try:
                proven.append((each, each.prove(document)))
            except UntrustedError as error:
                why = str(error) or why
        if not proven:
            return Refused(why=why)
        (_, first), *_ = proven
        moments = [proof.since for _, proof in proven if proof.since is not None]
        return Opened(
            payload=first.payload,
            signers=tuple(each for each, _ in proven),
            since=min(moments, default=None),
        )

    def signed(self, data: bytes, signature: str) -> bool:
        """Return whether a key that counts today made the ``signature`` (base64) of ``data``.

        Such a signature has no time stamp, so none counts where one is asked for.
        """
        today = datetime.now(UTC)
        return any(
            each.clock is None and each.holds(today) and dsse.is_signed(data, signature, each.key)
            for each in self.keys
        )
