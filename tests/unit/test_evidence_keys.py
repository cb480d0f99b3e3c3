"""Signing keys: made once, read back, and never shown."""

import base64
import json
import stat
import traceback

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

from envbuilder.evidence import dsse
from envbuilder.evidence.keys import (
    PASSWORD_VARIABLE,
    new_key,
    public_der,
    public_pem,
    read_private,
    read_public,
)
from envbuilder.model.errors import UsageError


def test_a_new_pair_belongs_together(tmp_path):
    private, public = new_key(tmp_path / "ci.v1")
    assert (private.name, public.name) == ("ci.v1.key", "ci.v1.pub")
    key = read_private(str(private), {})
    assert public_der(key.public_key()) == public_der(read_public(str(public)))
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_a_password_protects_the_private_key(tmp_path):
    private, _ = new_key(tmp_path / "k", "hunter2")
    assert b"ENCRYPTED" in private.read_bytes()
    assert read_private(str(private), {PASSWORD_VARIABLE: "hunter2"})
    with pytest.raises(UsageError, match="needs its password"):
        read_private(str(private), {})
    wrong = {PASSWORD_VARIABLE: "wrong" + "one"}
    with pytest.raises(UsageError, match="password is wrong") as caught:
        read_private(str(private), wrong)
    assert "wrongone" not in "".join(traceback.format_exception(caught.value))


def test_a_password_for_a_key_without_one_is_a_mistake(tmp_path):
    private, _ = new_key(tmp_path / "k")
    with pytest.raises(UsageError, match="has no password"):
        read_private(str(private), {PASSWORD_VARIABLE: "x"})


def test_keys_may_stand_in_the_environment(tmp_path):
    private, public = new_key(tmp_path / "k")
    environ = {"KEY": private.read_text(), "PUB": public.read_text()}
    made = public_der(read_private("env://KEY", environ).public_key())
    assert made == public_der(read_public("env://PUB", environ))
    with pytest.raises(UsageError, match=r"NONE.* is empty"):
        read_private("env://NONE", environ)


@pytest.mark.parametrize("taken", ["k.key", "k.pub"])
def test_no_key_is_overwritten(tmp_path, taken):
    (tmp_path / taken).write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        new_key(tmp_path / "k")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(taken, "precious")]


# By cosign generate-key-pair 3.1.1, with the password "hunter2".
COSIGN_KEY = """\
-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJYNm1qUCsvMmZVSll5bmhaNWowVkFtMWVWOE1HNXZW
dGZVVkJDcVhWTC9JPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJCVkhqaHhSVE43OWRLMWRpREF3U3RTY1RWbVRRTWVzZSJ9LCJj
aXBoZXJ0ZXh0IjoiVmJLZUlNTUZjZHhrU2RGUGFxR29Ca2c2ekxEN1UzaTB3c2t6
aHJscjZVRnU0eXJQczhuYm9JbU5HYllhWXFhbDMxdEg3WlpBMnVRN1Y2MWtqQ1lD
SnRubFFPNWR3bHFJWHVDaS9jZEorOWlJVTFKMHlQd2lqZjBmaDNQeHJQVTMxQ1lt
eEtyVlN2QXlmbkVacDdlSTZnRHhoOGVYODEyNThPdVk3RWFPMFVQWCs1TFJUYUpT
WEJSUUhPYXlURFpPZU00cHJwcWp3Q3dZb1E9PSJ9
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
"""
COSIGN_PUB = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFLnZDDGEhlbfnGlaO9omp8zYao4M
vySO6cExXwd81U149r538cDkWOMWLcWscnIPprfWTThAJIxPNyLFfQ+D3w==
-----END PUBLIC KEY-----
"""
COSTLY = json.dumps(
    {
        "kdf": {"name": "scrypt", "params": {"N": 1 << 20, "r": 64, "p": 16}, "salt": "AAAA"},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
        "ciphertext": "AAAA",
    }
).encode()


def _cosign(document: bytes) -> bytes:
    label = b"ENCRYPTED SIGSTORE PRIVATE KEY"
    body = base64.b64encode(document)
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, body, label)


@pytest.mark.parametrize("variable", ["COSIGN_PASSWORD", PASSWORD_VARIABLE])
def test_a_key_of_cosign_s_opens_with_its_password(tmp_path, variable):
    (tmp_path / "cosign.key").write_text(COSIGN_KEY)
    (tmp_path / "cosign.pub").write_text(COSIGN_PUB)
    key = read_private(str(tmp_path / "cosign.key"), {variable: "hunter2"})
    assert public_der(key.public_key()) == public_der(read_public(str(tmp_path / "cosign.pub")))


@pytest.mark.parametrize("environ", [{}, {"COSIGN_PASSWORD": "wrongone"}])
def test_a_wrong_password_of_cosign_s_key_is_not_shown(tmp_path, environ):
    (tmp_path / "cosign.key").write_text(COSIGN_KEY)
    with pytest.raises(UsageError, match=r"password of .* is wrong") as caught:
        read_private(str(tmp_path / "cosign.key"), environ)
    assert caught.value.hint == "check COSIGN_PASSWORD"
    assert "wrongone" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-256", "P-384", "Ed25519"],
)
def test_every_kind_signs_and_is_told_from_others(tmp_path, key):
    (tmp_path / "k").write_bytes(_pem(key))
    (tmp_path / "k.pub").write_bytes(public_pem(key.public_key()))
    mine, public = read_private(str(tmp_path / "k"), {}), read_public(str(tmp_path / "k.pub"))
    envelope = dsse.sign(b"{}", mine)
    assert dsse.opened(envelope, public) == b"{}"
    assert dsse.opened(envelope, ec.generate_private_key(ec.SECP384R1()).public_key()) is None
    assert dsse.opened(envelope, ed25519.Ed25519PrivateKey.generate().public_key()) is None


@pytest.mark.parametrize("hashed", [hashes.SHA256(), hashes.SHA384()], ids=["256", "384"])
def test_p_384_is_read_over_either_hash(hashed):
    key = ec.generate_private_key(ec.SECP384R1())
    signature = base64.b64encode(key.sign(b"data", ec.ECDSA(hashed))).decode()
    assert dsse.is_signed(b"data", signature, key.public_key())
    assert not dsse.is_signed(b"date", signature, key.public_key())


def _pem(key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n", "damaged key of cosign's"),
        (_cosign(b"{}"), "damaged key of cosign's"),
        (_cosign(COSTLY), "damaged key of cosign's"),
        (_pem(ec.generate_private_key(ec.SECP521R1())), "not a P-256, P-384 or Ed25519 key"),
        (_pem(x25519.X25519PrivateKey.generate()), "not a P-256, P-384 or Ed25519 key"),
    ],
)
def test_what_is_no_key_of_ours_is_named(tmp_path, content, match):
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(UsageError, match=match):
        read_private(str(tmp_path / "k"), {})


def test_a_private_key_is_no_public_one(tmp_path):
    private, _ = new_key(tmp_path / "k")
    with pytest.raises(UsageError, match="no public key"):
        read_public(str(private))


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read the key .*nowhere"):
        read_public(str(tmp_path / "nowhere"))
