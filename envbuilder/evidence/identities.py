"""Signatures without a key to keep: by a certificate of some minutes that names who signed.

An identity provider (a CI system, a company's login) tells Sigstore's CA who asks; a log tells when
that was. Whom to believe stands in a trusted root; the package ``sigstore`` checks it all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from envbuilder.model.errors import NetworkError, UsageError

from . import dsse
from .bundle import Document, parse_bundle
from .extra import keyless_extra
from .timestamps import StampAuthority

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.models import Bundle, ClientTrustConfig, TrustedRoot
    from sigstore.verify import Verifier
    from sigstore.verify.policy import VerificationPolicy

_WORDS = 300  # characters of a reason that are shown


class UntrustedError(Exception):
    """A document is not by whom it should be; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a document says, proven; ``since`` when it is known to be there, if anyone says so."""

    payload: bytes
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRoot:
    """Whom to believe about identities: a CA, its logs and time stamp authorities."""

    verifier: Verifier
    clocks: tuple[StampAuthority, ...]

    @classmethod
    def of(cls, root: TrustedRoot) -> IdentityRoot:
        """Take what ``root`` names; raises sigstore's error if that lacks a part."""
        from sigstore.verify import Verifier  # noqa: PLC0415 (an extra)

        clocks = (
            StampAuthority.of(
                each.certificates(allow_expired=True),
                each.validity_period_start,
                each.validity_period_end,
            )
            for each in root.get_timestamp_authorities()
        )
        return cls(
            verifier=Verifier(trusted_root=root),
            clocks=tuple(each for each in clocks if each is not None),
        )

    def prove(self, document: Document, policy: VerificationPolicy) -> Proof:
        """Return what a bundle says if it is by whom ``policy`` asks for; else UntrustedError."""
        from sigstore.models import Bundle as Parsed  # noqa: PLC0415 (an extra)

        try:
            bundle = Parsed.from_json(document.bundle)
            kind, payload = self.verifier.verify_dsse(bundle, policy)
        except Exception as error:  # a stranger's document may break a library anywhere
            raise UntrustedError(f"{error}"[:_WORDS]) from error
        if kind != dsse.PAYLOAD_TYPE:
            raise UntrustedError(f"holds {kind[:_WORDS]}")
        return Proof(payload=payload, since=self._since(bundle))

    def _since(self, bundle: Bundle) -> datetime | None:
        """Return the earliest moment that the log or a time stamp tells of a checked bundle.

        Written anew: a stranger's JSON may say a thing twice, once for each of two readers.
        """
        document = parse_bundle(bundle.to_json().encode())
        if document is None:
            return None
        stamped = (clock.moment(bundle.signature, document.stamps) for clock in self.clocks)
        moments = (document.logged, *stamped)
        return min((each for each in moments if each is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIdentity:
    """Whoever ``issuer`` calls ``identity``, or by a name that ``pattern`` matches as a whole.

    What is signed after the moment ``until`` does not count; None if it always does.
    """

    issuer: str
    root: IdentityRoot
    identity: str = ""
    pattern: re.Pattern[str] | None = None
    until: datetime | None = None

    def holds(self, moment: datetime | None) -> bool:
        """Return whether something of that signed ``moment`` counts; None if it has none."""
        return self.until is None or (moment is not None and moment <= self.until)

    def prove(self, document: Document) -> Proof:
        """Return what ``document`` says if this identity signed it; raise UntrustedError if not."""
        from sigstore.verify.policy import AllOf, Identity, OIDCIssuerV2  # noqa: PLC0415 (an extra)

        if not document.bundle:
            raise UntrustedError("")
        name = Identity(identity=self.identity) if self.pattern is None else _Named(self.pattern)
        return self.root.prove(document, AllOf([OIDCIssuerV2(self.issuer), name]))


class _Named:
    """Sigstore's policy for names that a pattern matches from the first to the last character."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    def verify(self, cert: Certificate) -> None:
        """Raise sigstore's error for a certificate by another name."""
        from sigstore.errors import VerificationError  # noqa: PLC0415 (an extra)

        names = names_of(cert)
        if not any(map(self._pattern.fullmatch, names)):
            raise VerificationError(f"is by {', '.join(names)}, not {self._pattern.pattern}")


def names_of(cert: Certificate) -> list[str]:
    """List the names of a certificate's owner: addresses of people, and of workflows."""
    from cryptography.x509 import (  # noqa: PLC0415 (takes 0.02 s to load)
        RFC822Name,
        SubjectAlternativeName,
        UniformResourceIdentifier,
    )

    names = cert.extensions.get_extension_for_class(SubjectAlternativeName).value
    return [
        *names.get_values_for_type(RFC822Name),
        *names.get_values_for_type(UniformResourceIdentifier),
    ]


def read_root(path: Path | None) -> IdentityRoot:
    """Read a ``trusted_root.json``; None takes that of Sigstore's public instance, by TUF.

    Raises UsageError for a file that is none, NetworkError if the public one is not to be had,
    MissingToolError without the extra.
    """
    with keyless_extra("checking signatures by an identity"):
        from sigstore.errors import Error  # noqa: PLC0415
        from sigstore.models import TrustedRoot  # noqa: PLC0415
    if path is None:
        hint = "name a file, with trust_root: FILE (cosign trusted-root create makes one)"
        return IdentityRoot.of(public_instance(hint).trusted_root)
    try:
        return IdentityRoot.of(TrustedRoot.from_file(str(path)))
    except OSError as error:
        raise UsageError(f"cannot read the trusted root {path}: {error.strerror}") from error
    except (Error, ValueError) as error:
        raise UsageError(
            f"{path} is no trusted root of Sigstore's: {str(error)[:_WORDS]}",
            hint="expected a trusted_root.json with a CA, its logs and their keys",
        ) from error


def public_instance(hint: str) -> ClientTrustConfig:
    """Ask, by TUF, where Sigstore's public instance is and whom to believe.

    Raises NetworkError, with ``hint``, if that is not to be had.
    """
    from sigstore.errors import Error  # noqa: PLC0415 (an extra)
    from sigstore.models import ClientTrustConfig  # noqa: PLC0415 (an extra)

    try:
        return ClientTrustConfig.production()
    except (Error, OSError) as error:
        raise NetworkError(
            f"the trusted root of Sigstore's public instance is not to be had: {error}", hint=hint
        ) from error
