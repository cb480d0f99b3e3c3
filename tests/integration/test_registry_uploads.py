"""Uploads that break: they go on where the registry stands, or start over, and end whole."""

import io
import json
import socket

import pytest

from envbuilder.model.errors import NetworkError
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry import uploads
from envbuilder.registry.client import Client
from envbuilder.registry.uploads import BlobSource, put_bytes, upload
from tests.servers.memory import Memory
from tests.servers.samples import noise
from tests.servers.scripted import scripted

pytestmark = pytest.mark.integration

DATA = noise(2_000_000)
SOURCE = BlobSource(digest=Digest.of(DATA), size=len(DATA), open=lambda: io.BytesIO(DATA))


class Count:
    """A step that adds up."""

    done = 0

    def advance(self, amount: int) -> None:
        self.done += amount


def send(memory: Memory, tmp_path) -> tuple[list[str], Count]:
    """Upload DATA into ``memory``; give the methods it took, and the progress shown."""
    count = Count()
    settings = Settings(attempts=4, backoff=0.01, read_seconds=2)
    config = tmp_path / "none.json"
    with scripted(memory.respond) as server, Client(settings, docker_config=config) as client:
        repository = client.repository(ImageRef.parse(f"{server.host}/app"))
        try:
            upload(repository, SOURCE, step=count)
        finally:
            methods = [request.method for request in server.seen]
    return methods, count


@pytest.fixture
def streamed(monkeypatch):
    monkeypatch.setattr(uploads, "RESUMABLE", 1000)


def breaking(method: str, *, keep: int, times: int = 1):
    """Make a fault: take ``keep`` bytes of a body, then cut the connection, ``times`` times."""
    left = [times]

    def fault(memory, call, request) -> bool:
        if request.method != method or not left[0]:
            return False
        left[0] -= 1
        name = request.path.rpartition("/")[2].partition("?")[0]
        memory.uploads[name] += request.body[:keep]
        call.close_connection = True
        call.connection.shutdown(socket.SHUT_RDWR)
        return True

    return fault


def answering(method: str, status: int, **headers: str):
    """Make a fault: the first request with ``method`` gets ``status``."""
    left = [1]

    def fault(_memory, call, request) -> bool:
        if request.method != method or not left[0]:
            return False
        left[0] -= 1
        call.answer(status, **headers)
        return True

    return fault


def test_a_small_blob_is_one_put(tmp_path):
    memory = Memory()
    methods, count = send(memory, tmp_path)
    assert memory.blobs == {str(SOURCE.digest): DATA}
    assert methods == ["POST", "PUT"]
    assert count.done == len(DATA)


@pytest.mark.usefixtures("streamed")
def test_a_large_blob_is_one_patch(tmp_path):
    memory = Memory()
    methods, count = send(memory, tmp_path)
    assert memory.blobs == {str(SOURCE.digest): DATA}
    assert methods == ["POST", "PATCH", "PUT"]
    assert count.done == len(DATA)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("keep", [0, 1, 1_500_000])
def test_a_broken_stream_goes_on_where_the_registry_stands(tmp_path, keep):
    memory = Memory(fault=breaking("PATCH", keep=keep))
    methods, count = send(memory, tmp_path)
    assert memory.blobs == {str(SOURCE.digest): DATA}
    assert methods[:4] == ["POST", "PATCH", "GET", "PATCH"]
    assert count.done == len(DATA)


@pytest.mark.usefixtures("streamed")
def test_a_stream_that_always_breaks_is_given_up(tmp_path):
    memory = Memory(fault=breaking("PATCH", keep=10, times=1000))
    with pytest.raises(NetworkError, match="broke off"):
        send(memory, tmp_path)
    assert not memory.blobs


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_stream_that_is_put_off_goes_on(tmp_path, status):
    memory = Memory(fault=answering("PATCH", status, Retry_After="0"))
    methods, _ = send(memory, tmp_path)
    assert memory.blobs == {str(SOURCE.digest): DATA}
    assert methods.count("PATCH") == 2


@pytest.mark.parametrize("status", [404, 416, 429, 500, 503])
def test_a_put_that_fails_starts_over(tmp_path, status):
    memory = Memory(fault=answering("PUT", status, Retry_After="0"))
    methods, count = send(memory, tmp_path)
    assert memory.blobs == {str(SOURCE.digest): DATA}
    assert methods == ["POST", "PUT", "HEAD", "POST", "PUT"]
    assert count.done == len(DATA)


def test_a_put_waits_as_long_as_it_is_asked_to(tmp_path):
    with pytest.raises(NetworkError, match="429 and asks to wait 3600 seconds"):
        send(Memory(fault=answering("PUT", 429, Retry_After="3600")), tmp_path)


def test_a_put_whose_answer_is_lost_is_not_sent_again(tmp_path):
    def fault(memory, call, request) -> bool:
        if request.method != "PUT":
            return False
        memory.blobs[str(SOURCE.digest)] = request.body
        call.close_connection = True
        call.connection.shutdown(socket.SHUT_RDWR)
        return True

    methods, count = send(Memory(fault=fault), tmp_path)
    assert methods == ["POST", "PUT", "HEAD"]
    assert count.done == len(DATA)


def test_a_refusal_is_final(tmp_path):
    body = b'{"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}'

    def fault(_memory, call, request) -> bool:
        if request.method == "PUT":
            call.answer(400, body)
        return request.method == "PUT"

    with pytest.raises(NetworkError, match="400: DIGEST_INVALID"):
        send(Memory(fault=fault), tmp_path)


def test_a_token_that_ends_on_the_way_is_renewed(tmp_path):
    """Each token serves three requests, fewer than the uploads take."""
    memory = Memory()
    uses: dict[str | None, int] = {}

    def respond(call, request):
        if request.path.startswith("/token"):
            token = f"token-{len(uses)}"
            uses[f"Bearer {token}"] = 0
            call.answer(200, json.dumps({"token": token}).encode())
            return
        login = request.headers.get("Authorization")
        if uses.get(login, 3) == 3:
            realm = f"http://{request.headers['Host']}/token"
            call.answer(401, WWW_Authenticate=f'Bearer realm="{realm}"')
            return
        uses[login] += 1
        memory.respond(call, request)

    settings = Settings(backoff=0.01)
    with (
        scripted(respond) as server,
        Client(settings, docker_config=tmp_path / "none.json") as client,
    ):
        repository = client.repository(ImageRef.parse(f"{server.host}/app"))
        blobs = [noise(100_000, seed) for seed in range(6)]
        for data in blobs:
            put_bytes(repository, data, "application/octet-stream")
    assert sorted(memory.blobs.values()) == sorted(blobs)
    assert list(uses.values()) == [3] * 6, "two to look, four to upload"


def test_an_upload_without_a_location_is_refused(tmp_path):
    with pytest.raises(NetworkError, match="no Location"):
        send(Memory(fault=answering("POST", 202)), tmp_path)
