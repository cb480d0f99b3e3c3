"""Time stamps (RFC 3161): an authority's word that a signature was there at some moment.

A stamp says "not later than": whoever holds an old signature can have it stamped again. So of
several stamps the earliest tells.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.net.config import Settings
from envbuilder.net.messages import Body, HttpRequest, place, split_url
from envbuilder.net.transport import Transport

from .extra import keyless_extra

if TYPE_CHECKING:
    from cryptography import x509
    from rfc3161_client import TimeStampRequest, Verifier

_QUERY = "application/timestamp-query"
_LIMIT = 1 << 20  # bytes of an answer
_MOST = 8  # stamps of one signature that are looked at
_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


class Clock(Protocol):
    """Who tells since when a signature is there."""

    def moment(self, signature: bytes, stamps: Sequence[bytes]) -> datetime | None:
        """Return the earliest moment that ``stamps`` prove of ``signature``; None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StampAuthority:
    """A time stamp authority by its certificates; ``since`` and ``until`` bound its stamps."""

    verifier: Verifier
    since: datetime = _ALWAYS[0]
    until: datetime = _ALWAYS[1]

    @classmethod
    def of(
        cls,
        certificates: Sequence[x509.Certificate],
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> StampAuthority | None:
        """Take an authority's certificates in any order; None if no root is among them."""
        from rfc3161_client import VerifierBuilder  # noqa: PLC0415 (an extra)

        builder = VerifierBuilder()
        for each in certificates:
            if each.subject == each.issuer:
                builder = builder.add_root_certificate(each)
            elif _certifies(each):
                builder = builder.add_intermediate_certificate(each)
            else:
                builder = builder.tsa_certificate(each)
        try:
            verifier = builder.build()
        except ValueError:
            return None
        return cls(verifier=verifier, since=since or _ALWAYS[0], until=until or _ALWAYS[1])

    def moment(self, signature: bytes, stamps: Sequence[bytes]) -> datetime | None:
        """Return the earliest moment at which this authority saw ``signature``."""
        moments = (self._moment(signature, stamp) for stamp in stamps[:_MOST])
        return min((each for each in moments if each is not None), default=None)

    def _moment(self, signature: bytes, stamp: bytes) -> datetime | None:
        from rfc3161_client import decode_timestamp_response  # noqa: PLC0415 (an extra)

        try:
            response = decode_timestamp_response(stamp)
            self.verifier.verify_message(response, signature)
            moment = response.tst_info.gen_time
        except Exception:  # a stranger's stamp may break a library anywhere
            return None
        return moment if self.since <= moment <= self.until else None


class AnyAuthority:
    """Believes every stamp: enough to see whether what we attached was stamped."""

    def moment(self, signature: bytes, stamps: Sequence[bytes]) -> datetime | None:
        """Return the moment that the first stamp names, if it is of ``signature``."""
        from rfc3161_client import decode_timestamp_response  # noqa: PLC0415 (an extra)

        try:
            seen = decode_timestamp_response(stamps[0]).tst_info if stamps else None
            same = seen is not None and seen.message_imprint.message == _sha256(signature)
            return seen.gen_time if seen is not None and same else None
        except Exception:  # as above
            return None


def read_authority(path: Path) -> StampAuthority:
    """Read the certificates (PEM) of an authority: the root, and what lies below it.

    Raises UsageError if there is no root, MissingToolError without the extra.
    """
    with keyless_extra("checking time stamps"):
        import rfc3161_client  # noqa: F401, PLC0415
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415 (0.02 s to load)

    hint = "expected a PEM file as for cosign's --timestamp-certificate-chain, the root included"
    try:
        certificates = load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise UsageError(f"{path} holds no certificates in PEM", hint=hint) from error
    authority = StampAuthority.of(certificates)
    if authority is None:
        raise UsageError(f"{path} lacks the root of the time stamp authority", hint=hint)
    return authority


def request_stamp(url: str, signature: bytes) -> bytes:
    """Have the authority at ``url`` stamp ``signature``; return its answer (TimeStampResp, DER).

    Raises NetworkError if it does not, MissingToolError without the extra.
    """
    with keyless_extra("asking for a time stamp"):
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder  # noqa: PLC0415
    asked = TimestampRequestBuilder().data(signature).hash_algorithm(HashAlgorithm.SHA256).build()
    body = asked.as_bytes()
    request = HttpRequest(
        method="POST",
        url=url,
        headers={"Content-Type": _QUERY},
        body=Body(size=len(body), open=partial(io.BytesIO, body)),
    )
    transport = Transport(split_url(url).netloc, Settings.from_environment())
    try:
        with transport.send(request) as answer:
            stamp = answer.read(_LIMIT)
            status = answer.status
    finally:
        transport.close()
    if status != 200 or not _answers(asked, signature, stamp):
        raise NetworkError(
            f"{place(url)} gave no time stamp: it answered {status}",
            hint="--timestamp-server takes the address of an RFC 3161 authority",
        )
    return stamp


def _answers(asked: TimeStampRequest, signature: bytes, stamp: bytes) -> bool:
    """Return whether ``stamp`` grants what was ``asked``; verifiers see to who made it."""
    from rfc3161_client import PKIStatus, decode_timestamp_response  # noqa: PLC0415

    try:
        response = decode_timestamp_response(stamp)
        seen = response.tst_info
        return (
            response.status == PKIStatus.GRANTED
            and seen.nonce == asked.nonce
            and seen.message_imprint.message == _sha256(signature)
        )
    except ValueError:
        return False


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _certifies(certificate: x509.Certificate) -> bool:
    from cryptography.x509 import BasicConstraints  # noqa: PLC0415 (takes 0.02 s to load)

    values = (each.value for each in certificate.extensions)
    return any(isinstance(each, BasicConstraints) and each.ca for each in values)
