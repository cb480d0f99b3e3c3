"""DSSE envelopes: bytes that say what they are, signed by ECDSA or Ed25519.

Source: "DSSE: Dead Simple Signing Envelope" (secure-systems-lab), protocol version 1.0.2.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from msgspec import Struct

from envbuilder.model.codec import from_json
from envbuilder.model.errors import NetworkError
from envbuilder.model.image import canonical_json

from .keys import PrivateKey, PublicKey
from .service_key import ServiceKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
_MOST_SIGNATURES = 16  # of one envelope that are tried: each takes time, and strangers add them


class _Signature(Struct, frozen=True):
    sig: str


class _Envelope(Struct, frozen=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: tuple[_Signature, ...]


def sign(payload: bytes, key: PrivateKey) -> bytes:
    """Wrap an in-toto statement in a signed envelope."""
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": "", "sig": sign_bytes(_encoded(payload), key)}],
    }
    return canonical_json(envelope)


class Opened(NamedTuple):
    """What an envelope holds, and the signature by which a key vouches for it."""

    payload: bytes
    signature: bytes


def opened(envelope: bytes, key: PublicKey) -> bytes | None:
    """Return the payload if any one signature is by ``key``, and None otherwise."""
    found = opened_with(envelope, key)
    return None if found is None else found.payload


def opened_with(envelope: bytes, key: PublicKey) -> Opened | None:
    """Return the payload with the first signature that is by ``key``, and None without one.

    Strangers may attach what they like to an image, so what is no envelope is no error.
    """
    try:
        content = from_json(envelope, _Envelope)
        payload = base64.b64decode(content.payload, validate=True)
    except ValueError:
        return None
    if content.payload_type != PAYLOAD_TYPE:
        return None
    data = _encoded(payload)
    signatures = (each.sig for each in content.signatures[:_MOST_SIGNATURES])
    ours = next((each for each in signatures if is_signed(data, each, key)), None)
    return None if ours is None else Opened(payload, base64.b64decode(ours))


def sign_bytes(data: bytes, key: PrivateKey) -> str:
    """Sign ``data``; give the signature in base64: in DER, or Ed25519's 64 bytes.

    ECDSA is over SHA-256 whatever the curve: cosign 2 and 3 take nothing else from a key in a file.
    """
    if isinstance(key, ServiceKey):
        signature = key.sign(data)
        if not is_signed(data, signature, key.public):
            raise NetworkError(f"what {key.address} signed is not by its own public key")
        return signature
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return base64.b64encode(key.sign(data)).decode()
    return base64.b64encode(key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()


def is_signed(data: bytes, signature: str, key: PublicKey) -> bool:
    """Return whether ``signature`` (in base64) is that of ``data`` by ``key``.

    By P-384 over SHA-256, as cosign signs with any curve, or over SHA-384, as others do.
    """
    try:
        raw = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _holds(partial(key.verify, raw, data))
    taken: list[hashes.HashAlgorithm] = [hashes.SHA256()]
    if isinstance(key.curve, ec.SECP384R1):
        taken.append(hashes.SHA384())
    return any(_holds(partial(key.verify, raw, data, ec.ECDSA(each))) for each in taken)


def _holds(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except (InvalidSignature, ValueError):
        return False
    return True


def _encoded(payload: bytes) -> bytes:
    """Return what is signed: the pre-authentication encoding, PAE(type, payload)."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
