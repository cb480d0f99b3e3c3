"""What was seen in one repository is mounted into another of the same registry, not sent again."""

import pytest

from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Platform
from envbuilder.registry.transfer import pull, push
from envbuilder.storage.store import Store
from tests.servers.counting import counted
from tests.servers.distribution import registry
from tests.servers.samples import small_image

pytestmark = pytest.mark.integration
PLATFORM = Platform.parse("linux/amd64")


@pytest.fixture
def relay(tmp_path):
    """A real registry behind a relay that counts."""
    with registry(tmp_path / "registry") as server, counted(server.host) as counter:
        yield counter


@pytest.fixture
def client(tmp_path):
    with Client(Settings(backoff=0.01), docker_config=tmp_path / "none.json") as opened:
        yield opened


def test_another_repository_gets_the_layers_mounted(relay, client, tmp_path):
    store = Store(tmp_path / "store")
    image = small_image(store, layers=5, size=100_000)
    push(client, image, store, ImageRef.parse(f"{relay.host}/one:v1"), Silent())
    sent, before = relay.sent, len(relay.requests)
    assert sent > 500_000
    push(client, image, store, ImageRef.parse(f"{relay.host}/two:v1"), Silent())
    assert relay.sent - sent < 10_000, "no layer was sent again"
    assert sum("mount=" in each for each in relay.requests[before:]) == 6, "the config as well"
    pulled = pull(client, ImageRef.parse(f"{relay.host}/two:v1"), PLATFORM,
        Store(tmp_path / "other"), Silent())  # fmt: skip
    assert pulled.digest == image.digest
    # The same push once more is one request, and leaves no other trace.
    before = len(relay.requests)
    push(client, image, store, ImageRef.parse(f"{relay.host}/two:v1"), Silent())
    assert len(relay.requests) - before == 1


def test_what_is_gone_there_is_sent(relay, client, tmp_path):
    """A memory that is wrong costs a request, and nothing else."""
    store = Store(tmp_path / "store")
    image = small_image(store, layers=2, size=50_000)
    digests = [str(layer.digest) for layer in image.layers]
    store.put_record("registry-blobs", f"{relay.host}/gone", digests)
    store.put_record("registry-blobs", "elsewhere.example.com/other", digests)
    push(client, image, store, ImageRef.parse(f"{relay.host}/two:v1"), Silent())
    assert sum("from=gone" in each for each in relay.requests) == 2
    assert not any("from=other" in each for each in relay.requests)
    pull(client, ImageRef.parse(f"{relay.host}/two:v1"), PLATFORM, Store(tmp_path / "o"), Silent())
