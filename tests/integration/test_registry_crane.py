"""Another real registry: go-containerregistry's, whose PATCH, mounts and referrers are its own."""

import io
import json

import pytest

from envbuilder.evidence.attach import attach, attach_bundles, sign
from envbuilder.evidence.bundle import BUNDLE_TYPE
from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.keys import new_key, read_private, read_public
from envbuilder.evidence.read import is_signed, read_evidence
from envbuilder.evidence.signers import KeySigner
from envbuilder.evidence.statements import PROVENANCE, provenance
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry import uploads
from envbuilder.registry.blobs import stream_blob
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import EMPTY_TYPE, Descriptor, Manifest, Platform
from envbuilder.registry.transfer import pull, push
from envbuilder.registry.uploads import BlobSource, upload
from envbuilder.storage.store import Store
from tests.servers.crane import crane, crane_registry, oras
from tests.servers.locks import small_lock
from tests.servers.samples import noise, small_image

pytestmark = pytest.mark.integration


@pytest.fixture
def host(tmp_path):
    with crane_registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def client(tmp_path):
    with Client(Settings(backoff=0.01), docker_config=tmp_path / "none.json") as opened:
        yield opened


def test_an_image_goes_there_and_back(host, client, tmp_path):
    store, other = Store(tmp_path / "one"), Store(tmp_path / "two")
    image = small_image(store, size=50_000)
    ref = ImageRef.parse(f"{host}/app:v1")
    push(client, image, store, ref, Silent())
    assert crane("digest", "--insecure", str(ref)).strip() == str(image.digest)
    crane("validate", "--insecure", "--remote", str(ref))
    pulled = pull(client, ref, Platform.parse("linux/amd64"), other, Silent())
    assert pulled.manifest == image.manifest
    again = ImageRef.parse(f"{host}/sibling:v1")
    push(client, image, store, again, Silent())
    crane("validate", "--insecure", "--remote", str(again))


def test_a_large_blob_goes_up_by_patch(host, client, monkeypatch):
    monkeypatch.setattr(uploads, "RESUMABLE", 100_000)
    data = noise(3_000_000)
    source = BlobSource(digest=Digest.of(data), size=len(data), open=lambda: io.BytesIO(data))
    repository = client.repository(ImageRef.parse(f"{host}/app"))
    with Silent().step("push", "large") as step:
        upload(repository, source, step=step)
    got = b"".join(stream_blob(repository, Descriptor(
        media_type="x", digest=source.digest, size=source.size)))  # fmt: skip
    assert got == data


def test_evidence_in_both_forms_is_found(host, client, tmp_path):
    store = Store(tmp_path / "store")
    image = small_image(store)
    ref = ImageRef.parse(f"{host}/app:v1")
    push(client, image, store, ref, Silent())
    private, public = (str(path) for path in new_key(tmp_path / "mine"))
    key, keyring = read_private(private, {}), Keyring.of(read_public(public))
    stated = [provenance(small_lock(), image.digest, engine="e", finished="2026-01-01T00:00:00Z")]
    repository = client.repository(ref)
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    attach_bundles(repository, manifest, stated, KeySigner(key=key))
    attach(repository, image.digest, stated, key)
    sign(repository, image.digest, key)
    assert len(read_evidence(repository, image.digest, keyring, {PROVENANCE}).statements) == 2
    assert is_signed(repository, image.digest, keyring)
    listed = json.loads(oras("discover", "--plain-http", "--format=json", str(ref)))
    (kind,) = {each["artifactType"] for each in listed["referrers"]}
    assert kind in {BUNDLE_TYPE, EMPTY_TYPE}, "its referrers API tells the config's type instead"
    oras("pull", "--plain-http", "--output", str(tmp_path / "got"), str(ref))
