"""Keys that stay in a service: stock cosign 2 and 3 ask a real plugin for signatures."""

import base64
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from envbuilder.evidence import dsse
from envbuilder.evidence.attach import attach_bundles, sign
from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.keys import (
    builder_id,
    key_uri,
    public_der,
    public_pem,
    read_private,
    read_public,
)
from envbuilder.evidence.read import is_signed, read_evidence
from envbuilder.evidence.signers import KeySigner
from envbuilder.evidence.statements import PROVENANCE, provenance
from envbuilder.model.errors import MissingToolError, NetworkError, UsageError
from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.transfer import push
from envbuilder.storage.store import Store
from tests.servers.distribution import registry
from tests.servers.kms import write_service
from tests.servers.locks import small_lock
from tests.servers.samples import small_image

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
ADDRESS = "testkms://mine"


@pytest.fixture(params=["trixie", "sid"])
def cosign(request, tmp_path, monkeypatch):
    """Put cosign 2 or 3 on the PATH, with a key service; there is no way out of this machine."""
    program = ROOT / ".cosign" / request.param / "cosign"
    if not program.exists():
        subprocess.run([ROOT / "tests/cosign.sh"], check=True)
    service = tmp_path / "service"
    key = write_service(service, "mine")
    monkeypatch.setenv("PATH", f"{program.parent}:{service}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    return program, service, key


def test_a_service_s_key_signs_what_we_and_cosign_accept(cosign, tmp_path):
    program, service, held = cosign
    key = read_private(ADDRESS, {})
    assert public_der(key.public_key()) == public_der(held.public_key())
    assert "urn:gpu-envbuilder:builder:sha256:" in builder_id(key_uri(key.public_key()), {})
    store = Store(tmp_path / "store")
    image = small_image(store)
    stated = [provenance(small_lock(), image.digest, engine="e", finished="2026-01-01T00:00:00Z")]
    with (
        registry(tmp_path / "registry") as server,
        Client(Settings(), docker_config=tmp_path / "none.json") as client,
    ):
        ref = ImageRef.parse(f"{server.host}/app:v1")
        push(client, image, store, ref, Silent())
        repository = client.repository(ref)
        sign(repository, image.digest, key)
        keyring = Keyring.of(read_public(ADDRESS))
        assert is_signed(repository, image.digest, keyring)
        public = tmp_path / "mine.pub"
        public.write_bytes(public_pem(held.public_key()))
        flags = ["--insecure-ignore-tlog=true", "--allow-http-registry", "--key", str(public)]
        subprocess.run([program, "verify", *flags, str(ref)], check=True, capture_output=True)
        manifest = Manifest(body=image.manifest, media_type=image.media_type)
        attach_bundles(repository, manifest, stated, KeySigner(key=key))
        assert len(read_evidence(repository, image.digest, keyring, {PROVENANCE}).statements) == 1
    assert "signMessage" in (service / "calls").read_text()


@pytest.mark.usefixtures("cosign")
def test_what_the_service_says_is_told():
    with pytest.raises(NetworkError, match="the service has no key other") as caught:
        read_private("testkms://other", {})
    assert "cosign public-key" in caught.value.hint
    with pytest.raises(NetworkError, match="reading the key nosuchkms://mine"):
        read_public("nosuchkms://mine")


def test_a_key_of_another_kind_is_refused(cosign):
    _, service, _ = cosign
    write(service, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with pytest.raises(UsageError, match=r"is not a P-256, P-384 or Ed25519 key"):
        read_private(ADDRESS, {})


def test_a_service_that_signs_by_another_key_is_not_believed(cosign):
    _, service, _ = cosign
    key = read_private(ADDRESS, {})
    write(service, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(NetworkError, match="is not by its own public key"):
        dsse.sign(b"{}", key)


def test_without_cosign_there_are_no_services(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="used through cosign, which is not installed"):
        read_private("awskms:///alias/ci", {})


@pytest.mark.usefixtures("cosign")
def test_an_encoded_signature_is_what_dsse_carries():
    key = read_private(ADDRESS, {})
    assert dsse.opened(dsse.sign(b"{}", key), key.public_key()) == b"{}"
    assert base64.b64decode(dsse.sign_bytes(b"x", key), validate=True)


def write(service: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (service / "mine.pem").write_bytes(pem)
