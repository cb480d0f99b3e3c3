"""Signing keys: made once, read back, and never shown."""

import stat
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from envbuilder.evidence.keys import (
    PASSWORD_VARIABLE,
    new_key,
    public_der,
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


def _pem(key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n", "only cosign reads"),
        (_pem(ed25519.Ed25519PrivateKey.generate()), "no P-256 key"),
        (_pem(ec.generate_private_key(ec.SECP384R1())), "no P-256 key"),
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
