"""Signing keys: P-256, P-384 or Ed25519 in PEM files, as ``cosign`` has them as well.

The private one is PKCS #8, encrypted if a password is given, or in cosign's own form. A key may
also stand in an environment variable, named ``env://NAME`` as cosign does, so that a CI system need
write no file; or stay in a key service.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from envbuilder.model.errors import UsageError

from .cosign_key import PASSWORD_VARIABLE as COSIGN_VARIABLE
from .cosign_key import decrypted, is_cosign_key
from .service_key import ServiceKey, fetch_public, is_address

PASSWORD_VARIABLE = "ENVBUILDER_KEY_PASSWORD"  # noqa: S105 (the variable's name)
BUILDER_VARIABLE = "ENVBUILDER_BUILDER_ID"
_ENVIRONMENT = "env://"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x1f]+")

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ServiceKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_KINDS = "a P-256, P-384 or Ed25519 key"


def new_key(prefix: Path, password: str = "") -> tuple[Path, Path]:
    """Make a pair and write PREFIX.key (mode 0600) and PREFIX.pub; give both paths.

    Raises UsageError if one of them exists: a key that signed something is not to be lost.
    """
    if not prefix.name:
        raise UsageError(f"{prefix} names no file", hint="name the new key, such as ci")
    private, public = prefix.with_name(f"{prefix.name}.key"), prefix.with_name(f"{prefix.name}.pub")
    key = ec.generate_private_key(ec.SECP256R1())
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password.encode())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    if public.exists():
        raise UsageError(f"{public} exists already", hint="choose another name for the new key")
    _write_new(private, pem, mode=0o600)
    _write_new(public, public_pem(key.public_key()), mode=0o644)
    return private, public


def read_private(source: str, environ: Mapping[str, str] = os.environ) -> PrivateKey:
    """Read a private key from a file or ``env://NAME``; its password from the environment.

    An address such as ``awskms://…`` gives a key that stays in its service.

    A key in cosign's form has it in $COSIGN_PASSWORD, as with cosign, any other in
    $ENVBUILDER_KEY_PASSWORD, which also serves where the former is unset.

    Raises UsageError if there is none, or it cannot be opened; never shows its content.
    """
    if is_address(source):
        return ServiceKey(address=source, public=read_public(source, environ))
    password = environ.get(PASSWORD_VARIABLE) or None
    pem = _pem(source, environ, hint="envbuilder keys new makes one")
    if is_cosign_key(pem):
        secret = environ.get(COSIGN_VARIABLE, password or "")
        return _signing(
            serialization.load_der_private_key(decrypted(pem, secret, source), None), source
        )
    try:
        key = serialization.load_pem_private_key(pem, password.encode() if password else None)
    except TypeError:
        state = "has no password" if password else "needs its password"
        raise UsageError(
            f"the key {source} {state}", hint=f"set or unset {PASSWORD_VARIABLE}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            f"{source} is no private key in PEM, or its password is wrong",
            hint=f"check {PASSWORD_VARIABLE}, or make a key: envbuilder keys new",
        ) from None
    return _signing(key, source)


def _signing(key: object, source: str) -> PrivateKey:
    """Return ``key`` if it is of a kind that signs evidence; raise UsageError for another."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    raise UsageError(f"{source} is not {_KINDS}", hint="envbuilder keys new makes one")


def read_public(source: str, environ: Mapping[str, str] = os.environ) -> PublicKey:
    """Read a public key from a file, ``env://NAME`` or a key service; raise UsageError if none.

    Raises MissingToolError and NetworkError, too, for the key of a service.
    """
    hint = "expected the .pub file of the signing key"
    pem = fetch_public(source) if is_address(source) else _pem(source, environ, hint=hint)
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{source} is no public key in PEM", hint=hint) from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    raise UsageError(f"{source} is not {_KINDS}", hint=hint)


def public_pem(key: PublicKey) -> bytes:
    """Write a public key as PEM (SubjectPublicKeyInfo)."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form)


def public_der(key: PublicKey) -> bytes:
    """Write a public key as DER, which key hints are hashes of."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


def key_uri(key: PublicKey) -> str:
    """Return a URI that names the holder of ``key``."""
    return f"urn:gpu-envbuilder:builder:sha256:{hashlib.sha256(public_der(key)).hexdigest()}"


def builder_id(signer: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the URI of the builder: $ENVBUILDER_BUILDER_ID, or that of whoever is the ``signer``.

    Raises UsageError for a variable that holds no URI.
    """
    named = environ.get(BUILDER_VARIABLE, "")
    if not named:
        return signer
    if not _URI.fullmatch(named):
        raise UsageError(
            f"{BUILDER_VARIABLE} is no URI: {named!r}",
            hint="name the builder by an address of yours, such as https://ci.example.com/gpu-1",
        )
    return named


def _pem(source: str, environ: Mapping[str, str], *, hint: str) -> bytes:
    if source.startswith(_ENVIRONMENT):
        name = source.removeprefix(_ENVIRONMENT)
        if not environ.get(name):
            raise UsageError(f"the variable {name}, which should hold a key, is empty")
        return environ[name].encode()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the key {source}: {error.strerror}", hint=hint) from error


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists already", hint="choose another name for the new key"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
