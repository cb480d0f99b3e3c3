"""Private keys in cosign's own encrypted form, as ``cosign generate-key-pair`` writes them.

A PEM block around JSON: scrypt makes a key of the password, NaCl's secretbox keeps PKCS #8 in DER.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from envbuilder.model.errors import UsageError

PASSWORD_VARIABLE = "COSIGN_PASSWORD"  # noqa: S105 (the variable's name)
_BLOCK = re.compile(
    rb"-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+?)"
    rb"-----END ENCRYPTED \1 PRIVATE KEY-----"
)
_MEMORY = 256 << 20  # bytes; cosign's own cost takes a quarter of it


class _Cost(Struct):
    n: Annotated[int, Meta(gt=1, le=1 << 20)] = msgspec.field(name="N")
    r: Annotated[int, Meta(ge=1, le=64)]
    p: Annotated[int, Meta(ge=1, le=16)]


class _Kdf(Struct):
    name: Literal["scrypt"]
    params: _Cost
    salt: bytes


class _Cipher(Struct):
    name: Literal["nacl/secretbox"]
    nonce: Annotated[bytes, Meta(min_length=24, max_length=24)]


class _Envelope(Struct):
    kdf: _Kdf
    cipher: _Cipher
    ciphertext: bytes


def is_cosign_key(pem: bytes) -> bool:
    """Return whether ``pem`` holds a private key in cosign's form."""
    return b"BEGIN ENCRYPTED SIGSTORE" in pem or b"BEGIN ENCRYPTED COSIGN" in pem


def decrypted(pem: bytes, password: str, source: str) -> bytes:
    """Return the PKCS #8 DER in cosign's key ``pem``; ``source`` is what to call it.

    Raises UsageError for a damaged key and for a wrong password; shows neither.
    """
    # The library takes 0.1 s to load.
    from nacl.exceptions import CryptoError  # noqa: PLC0415
    from nacl.secret import SecretBox  # noqa: PLC0415

    match = _BLOCK.search(pem)
    try:
        envelope = msgspec.json.decode(base64.b64decode(match[2] if match else b""), type=_Envelope)
        cost = envelope.kdf.params
        key = hashlib.scrypt(
            password.encode(), salt=envelope.kdf.salt, n=cost.n, r=cost.r, p=cost.p,
            maxmem=_MEMORY, dklen=SecretBox.KEY_SIZE,
        )  # fmt: skip
    except (ValueError, msgspec.MsgspecError, MemoryError):
        raise UsageError(
            f"{source} is a damaged key of cosign's", hint="cosign generate-key-pair makes one"
        ) from None
    try:
        return SecretBox(key).decrypt(envelope.ciphertext, envelope.cipher.nonce)
    except CryptoError:
        raise UsageError(
            f"the password of {source} is wrong", hint=f"check {PASSWORD_VARIABLE}"
        ) from None
