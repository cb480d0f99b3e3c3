"""Signing keys: P-256 pairs in PEM files that ``cosign`` reads as well.

The private one is PKCS #8, encrypted where a password is given. A key may also stand in an
environment variable, named ``env://NAME`` as cosign does, so that a CI system need write no file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from envbuilder.model.errors import UsageError

PASSWORD_VARIABLE = "ENVBUILDER_KEY_PASSWORD"  # noqa: S105 (the variable's name)
_ENVIRONMENT = "env://"

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


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

    Raises UsageError if there is none, or it cannot be opened; never shows its content.
    """
    password = environ.get(PASSWORD_VARIABLE) or None
    pem = _pem(source, environ, hint="envbuilder keys new makes one")
    if b"ENCRYPTED SIGSTORE" in pem or b"ENCRYPTED COSIGN" in pem:
        raise UsageError(
            f"{source} is in cosign's own encrypted form, which only cosign reads",
            hint="envbuilder keys new makes a key that both read",
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
    if not isinstance(key, PrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{source} is no P-256 key", hint="envbuilder keys new")
    return key


def read_public(source: str, environ: Mapping[str, str] = os.environ) -> PublicKey:
    """Read a public key from a file or ``env://NAME``; raise UsageError if it is none."""
    hint = "expected the .pub file of the signing key"
    pem = _pem(source, environ, hint=hint)
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{source} is no public key in PEM", hint=hint) from error
    if not isinstance(key, PublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{source} is no P-256 key", hint=hint)
    return key


def public_pem(key: PublicKey) -> bytes:
    """Write a public key as PEM (SubjectPublicKeyInfo)."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form)


def public_der(key: PublicKey) -> bytes:
    """Write a public key as DER, which key hints are hashes of."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


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
