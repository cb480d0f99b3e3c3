"""DSSE envelopes: bytes that say what they are, signed with ECDSA over SHA-256.

Source: "DSSE: Dead Simple Signing Envelope" (secure-systems-lab), protocol version 1.0.2.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from envbuilder.model.image import canonical_json

from .keys import PrivateKey, PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"


def sign(payload: bytes, key: PrivateKey) -> bytes:
    """Wrap an in-toto statement in a signed envelope."""
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": "", "sig": sign_bytes(_encoded(payload), key)}],
    }
    return canonical_json(envelope)


def opened(envelope: bytes, key: PublicKey) -> bytes | None:
    """Return the payload if any one signature is by ``key``, and None otherwise.

    Strangers may attach what they like to an image, so what is no envelope is no error.
    """
    try:
        content = json.loads(envelope)
        payload = base64.b64decode(content["payload"], validate=True)
        signatures = [str(entry["sig"]) for entry in content["signatures"]]
        known = content["payloadType"] == PAYLOAD_TYPE
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return payload if known and _any_signed(_encoded(payload), signatures, key) else None


def sign_bytes(data: bytes, key: PrivateKey) -> str:
    """Sign ``data``; give the DER signature in base64."""
    return base64.b64encode(key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()


def is_signed(data: bytes, signature: str, key: PublicKey) -> bool:
    """Return whether ``signature`` (DER in base64) is that of ``data`` by ``key``."""
    try:
        key.verify(base64.b64decode(signature, validate=True), data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _any_signed(data: bytes, signatures: Iterable[str], key: PublicKey) -> bool:
    return any(is_signed(data, signature, key) for signature in signatures)


def _encoded(payload: bytes) -> bytes:
    """Return what is signed: the pre-authentication encoding, PAE(type, payload)."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
