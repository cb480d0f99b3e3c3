"""A Sigstore bundle: an envelope, and what is needed to check it, in one document.

Source: sigstore protobuf-specs, ``bundle/v1`` in JSON, as cosign and sigstore-python write it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw, Struct

from envbuilder.model.codec import from_json
from envbuilder.model.image import canonical_json

from .keys import PublicKey, public_der

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_TYPES = frozenset(
    {
        BUNDLE_TYPE,
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        "application/vnd.dev.sigstore.bundle.v0.2+json",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
    }
)
"""The spellings under which others have written them."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A signed document as it was found: an ``envelope`` and, if it came in one, its ``bundle``.

    ``stamps`` are time stamps of its signature, ``logged`` is what the bundle says of when a log
    took it: both are worth what whoever checks them finds.
    """

    envelope: bytes
    bundle: bytes = b""
    stamps: tuple[bytes, ...] = ()
    logged: datetime | None = None


class _Stamp(Struct, frozen=True, rename="camel"):
    signed_timestamp: str


class _Stamps(Struct, frozen=True, rename="camel"):
    rfc3161_timestamps: tuple[_Stamp, ...] | None = None


class _Logged(Struct, frozen=True, rename="camel"):
    inclusion_promise: dict[str, Any] | None = None
    integrated_time: int | str | None = None  # protobuf writes 64 bits as a text


class _Material(Struct, frozen=True, rename="camel"):
    timestamp_verification_data: _Stamps | None = None
    tlog_entries: tuple[_Logged, ...] | None = None


class _Bundle(Struct, frozen=True, rename="camel"):
    """What we read of a bundle; protobuf's JSON may say null for whatever is not there."""

    dsse_envelope: Raw
    verification_material: _Material | None = None


def parse_bundle(body: bytes) -> Document | None:
    """Read a bundle that holds an envelope; None for a stranger's document that is none."""
    try:
        content = from_json(body, _Bundle)
        material = content.verification_material or _Material()
        stamps = (material.timestamp_verification_data or _Stamps()).rfc3161_timestamps or ()
        return Document(
            envelope=bytes(content.dsse_envelope),
            bundle=body,
            stamps=tuple(base64.b64decode(each.signed_timestamp) for each in stamps),
            logged=_logged(material.tlog_entries or ()),
        )
    except (ValueError, OverflowError):  # no JSON, of other types, no base64, no moment
        return None


def _logged(entries: tuple[_Logged, ...]) -> datetime | None:
    """Return when a log promised to have taken the first entry: only that is signed with it."""
    entry = entries[0] if entries else _Logged()
    if not entry.inclusion_promise or not entry.integrated_time:
        return None
    return _EPOCH + timedelta(seconds=int(entry.integrated_time))


def key_bundle(envelope: bytes, key: PublicKey, stamps: tuple[bytes, ...] = ()) -> bytes:
    """Write a bundle around an envelope that ``key`` signed, with time stamps of its signature."""
    hint = base64.b64encode(hashlib.sha256(public_der(key)).digest()).decode()
    material: dict[str, object] = {"publicKey": {"hint": hint}}
    if stamps:
        signed = [{"signedTimestamp": base64.b64encode(each).decode()} for each in stamps]
        material["timestampVerificationData"] = {"rfc3161Timestamps": signed}
    return canonical_json(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": json.loads(envelope),
        }
    )
