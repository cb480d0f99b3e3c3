"""Who signs evidence: a key that is kept, or whoever an identity provider says that we are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from envbuilder.model.errors import NetworkError

from . import dsse
from .bundle import key_bundle
from .keyring import Keyring, TrustedKey
from .keys import PrivateKey, key_uri
from .timestamps import AnyAuthority, request_stamp


class Signer(Protocol):
    """Who signs statements, and knows its own again."""

    @property
    def name(self) -> str:
        """A URI of who that is."""

    @property
    def keyring(self) -> Keyring:
        """What finds its own statements among others'."""

    def bundle(self, payload: bytes) -> bytes:
        """Sign an in-toto statement; return it as a Sigstore bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySigner:
    """Signs with ``key``; the authority at the address ``stamps`` stamps that, if one is given."""

    key: PrivateKey
    stamps: str | None = None

    @property
    def name(self) -> str:
        """A URI made of the public key."""
        return key_uri(self.key.public_key())

    @property
    def keyring(self) -> Keyring:
        """Our key; what must be stamped and is not is as good as unsigned."""
        clock = None if self.stamps is None else AnyAuthority()
        return Keyring(keys=(TrustedKey(key=self.key.public_key(), clock=clock),))

    def bundle(self, payload: bytes) -> bytes:
        """Sign an in-toto statement, and have it stamped; raises NetworkError."""
        envelope, public = dsse.sign(payload, self.key), self.key.public_key()
        opened = dsse.opened_with(envelope, public)
        if opened is None:
            raise NetworkError("what was signed is not by its own public key")
        stamps = () if self.stamps is None else (request_stamp(self.stamps, opened.signature),)
        return key_bundle(envelope, public, stamps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Who signs evidence; ``bundles`` for Sigstore bundles instead of tags.

    None keeps to what the evidence that is there has, on this image or the one before it.
    """

    signer: Signer
    bundles: bool | None = None
