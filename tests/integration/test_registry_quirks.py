"""What real registries do otherwise: an image and its evidence go there and back all the same."""

import io

import pytest

from envbuilder.evidence.attach import attach, attach_bundles, sign
from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.keys import new_key, read_private, read_public
from envbuilder.evidence.read import is_signed, read_evidence
from envbuilder.evidence.signers import KeySigner
from envbuilder.evidence.statements import PROVENANCE, provenance
from envbuilder.model.errors import NetworkError
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry import uploads
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Manifest, Platform
from envbuilder.registry.transfer import pull, push
from envbuilder.registry.uploads import BlobSource, upload
from envbuilder.storage.store import Store
from tests.servers.locks import small_lock
from tests.servers.memory import Memory
from tests.servers.quirky import QUIRKS, tokens, too_large
from tests.servers.samples import noise, small_image
from tests.servers.scripted import scripted

pytestmark = pytest.mark.integration

DATA = noise(3_000_000)
SOURCE = BlobSource(digest=Digest.of(DATA), size=len(DATA), open=lambda: io.BytesIO(DATA))


@pytest.fixture
def streamed(monkeypatch):
    """Send by PATCH what is sent in one PUT otherwise."""
    monkeypatch.setattr(uploads, "RESUMABLE", 1000)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("quirk", QUIRKS)
def test_there_and_back(quirk, tmp_path):
    memory = Memory(fault=QUIRKS[quirk]())
    store, other = Store(tmp_path / "one"), Store(tmp_path / "two")
    image = small_image(store, size=5000)
    mine = [str(path) for path in new_key(tmp_path / "mine")]
    key, keyring = read_private(mine[0], {}), Keyring.of(read_public(mine[1]))
    settings = Settings(backoff=0.001, attempts=5)
    config = tmp_path / "none.json"
    with scripted(memory.respond) as server, Client(settings, docker_config=config) as client:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        repository = client.repository(ref).for_writing()
        push(client, image, store, ref, Silent())
        with Silent().step("push", "large") as step:
            upload(repository, SOURCE, step=step, mount=("sibling",))
        stated = [provenance(small_lock(), image.digest, engine="e", finished="2026-01-01")]
        manifest = Manifest(body=image.manifest, media_type=image.media_type)
        attach_bundles(repository, manifest, stated, KeySigner(key=key))
        attach(repository, image.digest, stated, key)
        sign(repository, image.digest, key)
        found = read_evidence(repository, image.digest, keyring, {PROVENANCE})
        pulled = pull(client, ref.at(image.digest), Platform.parse("linux/amd64"), other, Silent())
        assert is_signed(repository, image.digest, keyring)
    assert memory.blobs[str(SOURCE.digest)] == DATA
    assert pulled.manifest == image.manifest
    assert all(other.has(layer.digest) for layer in image.layers)
    assert len(found.statements) == 2, "one in each form"


def test_a_registry_that_takes_no_body_at_all_is_told_of(tmp_path):
    memory = Memory(fault=too_large(10_000))
    with (
        scripted(memory.respond) as server,
        Client(Settings(backoff=0.001), docker_config=tmp_path / "none.json") as client,
        pytest.raises(NetworkError, match="not even of 256 KiB") as caught,
        Silent().step("push", "large") as step,
    ):
        upload(client.repository(ImageRef.parse(f"{server.host}/app")), SOURCE, step=step)
    assert "client_max_body_size" in caught.value.hint


def test_who_may_only_pull_asks_for_no_more(tmp_path):
    """A token to push is asked for in a push alone: those who read have no right to it."""
    memory = Memory(fault=tokens())
    with (
        scripted(memory.respond) as server,
        Client(Settings(backoff=0.001), docker_config=tmp_path / "none.json") as client,
    ):
        ref = ImageRef.parse(f"{server.host}/app:v1")
        assert client.repository(ref).find("v1") is None
        assert client.repository(ref).for_writing().find("v1") is None
    asked = [path for path in server.paths("GET") if path.startswith("/token")]
    assert ["push" in path for path in asked] == [False, True]
