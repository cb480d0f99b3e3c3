"""A Sigstore bundle: an envelope, and what is needed to check it, in one document.

Source: sigstore protobuf-specs, ``bundle/v1`` in JSON, as cosign and sigstore-python write it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

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


def parse_bundle(body: bytes) -> Document | None:
    """Read a bundle that holds an envelope; None for a stranger's document that is none."""
    try:
        content = json.loads(body)
        material = content.get("verificationMaterial") or {}
        stamps = (material.get("timestampVerificationData") or {}).get("rfc3161Timestamps") or ()
        return Document(
            envelope=canonical_json(content["dsseEnvelope"]),
            bundle=body,
            stamps=tuple(base64.b64decode(each["signedTimestamp"]) for each in stamps),
            logged=_logged(material.get("tlogEntries") or ()),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _logged(entries: object) -> datetime | None:
    """Return when a log promised to have taken the first entry: only that is signed with it."""
    entry = entries[0] if isinstance(entries, list) and entries else {}
    if not entry.get("inclusionPromise") or not entry.get("integratedTime"):
        return None
    return datetime.fromtimestamp(int(entry["integratedTime"]), UTC)


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
