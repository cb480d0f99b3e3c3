"""Pushes and pulls that are killed on the way: nothing half counts, and the next one ends."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Platform
from envbuilder.registry.transfer import pull, push
from envbuilder.storage.store import Store
from tests.servers.memory import Memory
from tests.servers.samples import small_image
from tests.servers.scripted import scripted

pytestmark = pytest.mark.integration

AMD64 = Platform(os="linux", architecture="amd64")
_HEAD = """
import sys
from pathlib import Path
from envbuilder.model.image import parse_image
from envbuilder.storage.store import Store
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Platform
from envbuilder.net.config import Settings
from envbuilder.registry.transfer import pull, push
ref, store = ImageRef.parse(sys.argv[1]), Store(Path(sys.argv[2]))
client = Client(Settings(), docker_config=Path("/nowhere/config.json"))
"""
PULL = _HEAD + "pull(client, ref, Platform.parse('linux/amd64'), store, Silent())"
PUSH = _HEAD + (
    "documents = [store.read(Digest.parse(text)) for text in sys.argv[3:]]\n"
    "push(client, parse_image(*documents), store, ref, Silent())"
)


class Stop:
    """Holds a server's answer back until the process that waits for it is dead."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.over = threading.Event()

    def hold(self) -> None:
        self.reached.set()
        self.over.wait(60)

    def kill(self, *command: object) -> None:
        """Start ``command``, and kill it where the server holds it."""
        process = subprocess.Popen(
            [sys.executable, "-c", *map(str, command)], cwd=Path(__file__).parents[2]
        )
        assert self.reached.wait(60)
        process.kill()
        process.wait()
        self.over.set()


@pytest.fixture
def client(tmp_path):
    with Client(Settings(backoff=0.01), docker_config=tmp_path / "none.json") as opened:
        yield opened


def test_a_push_that_is_killed_leaves_no_image_and_is_done_again(client, tmp_path):
    store, stop = Store(tmp_path / "store"), Stop()
    image = small_image(store, layers=6)
    documents = [store.add(image.manifest), store.add(image.config)]

    def fault(memory, call, request) -> bool:
        if request.method != "PUT" or len(memory.blobs) < 2 or stop.over.is_set():
            return False
        stop.hold()
        call.close_connection = True
        return True

    memory = Memory(fault=fault)
    with scripted(memory.respond) as server:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        stop.kill(PUSH, ref, store.root, *documents)
        assert not memory.manifests
        assert len(memory.blobs) < 7
        push(client, image, store, ref, Silent())
    assert memory.manifests == {"v1": image.manifest, str(image.digest): image.manifest}
    assert set(memory.blobs) == {str(each.digest) for each in image.layers} | {str(documents[1])}


def test_a_pull_that_is_killed_leaves_no_layer_and_is_done_again(client, tmp_path):
    source, stop = Store(tmp_path / "source"), Stop()
    image = small_image(source, layers=3, size=50_000)

    def respond(call, request):
        name = request.path.rpartition("/")[2].removeprefix("sha256:")
        if "manifests" in request.path:
            call.answer(200, image.manifest)
        elif name == image.config_digest.hex:
            call.answer(200, image.config)
        elif stop.over.is_set():
            call.answer(200, source.read(Digest(name)))
        else:
            data = source.read(Digest(name))
            call.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode())
            call.raw(data[: len(data) // 2])
            stop.hold()

    store = Store(tmp_path / "store")
    with scripted(respond) as server:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        stop.kill(PULL, ref, store.root)
        assert not store.ls()
        assert pull(client, ref, AMD64, store, Silent()).digest == image.digest
    assert all(store.read(each.digest) == source.read(each.digest) for each in image.layers)
    assert not list((store.root / "tmp").iterdir())
