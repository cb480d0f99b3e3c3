from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.errors import APIError

from envbuilder.model.errors import EnvbuilderError, MissingToolError, SmokeError
from envbuilder.model.image import OCI_CONFIG, OCI_MANIFEST, Image, Layer, canonical_json
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.runtime import loading
from envbuilder.runtime.command import Command, Mount
from envbuilder.runtime.docker import connect, container_options, refused
from envbuilder.runtime.loading import is_abandoned, new_mark
from envbuilder.runtime.local_registry import local_registry
from envbuilder.storage.store import Store
from tests.servers.engine import ANSWERS, engine

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def test_a_container_has_walls_whatever_the_command() -> None:
    options = container_options(Command(args=("python", "-c", "1")))
    assert options["network_mode"] == "none"
    assert options["read_only"] is True
    assert options["cap_drop"] == ["ALL"]
    assert options["security_opt"] == ["no-new-privileges"]
    assert options["pids_limit"] > 0
    assert (options["entrypoint"], options["command"]) == (["python"], ["-c", "1"])
    assert set(options["tmpfs"]) == {"/tmp", "/dev/shm"}
    assert "user" not in options
    assert "mem_limit" not in options
    assert "device_requests" not in options


def test_what_the_command_asks_for_is_passed_on(tmp_path: Path) -> None:
    command = Command(
        args=("x",),
        mounts=(Mount(source=tmp_path, target="/data"),),
        memory=1 << 30,
        gpus=True,
        user="1000",
        workdir="/srv",
        stdin=b"data",
    )
    options = container_options(command)
    assert (options["mem_limit"], options["memswap_limit"]) == (1 << 30, 1 << 30)
    assert options["device_requests"][0]["Capabilities"] == [["gpu"]]
    assert options["device_requests"][0]["Count"] == -1
    assert (options["user"], options["working_dir"], options["stdin_open"]) == (
        "1000",
        "/srv",
        True,
    )
    mount = options["mounts"][0]
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == (str(tmp_path), "/data", True)


@pytest.mark.parametrize(
    ("reason", "kind", "message"),
    [
        ('exec: "x": executable file not found in $PATH', SmokeError, "cannot be started"),
        ('could not select device driver "" with capabilities: [[gpu]]', MissingToolError, "GPUs"),
        ("no space left on device", MissingToolError, "Docker cannot run x: no space left"),
    ],
)
def test_refusals_are_told_apart(reason: str, kind: type[EnvbuilderError], message: str) -> None:
    error = refused(Command(args=("x",)), APIError("500 Server Error", explanation=reason))
    assert isinstance(error, kind)
    assert message in error.message
    assert error.hint


def test_marks_tell_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = new_mark()
    assert mine != new_mark()
    assert not is_abandoned(mine)
    host = mine.rsplit("-", 2)[0]
    assert is_abandoned(f"{host}-4194305-17")  # one more than the largest pid there is
    assert not is_abandoned("envbuilder-run-00000000-4194305-17")  # of another host
    assert not is_abandoned("latest")

    def another_users(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", another_users)
    assert not is_abandoned(f"{host}-4194305-17")


def test_a_host_is_one_start_and_one_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot, processes = tmp_path / "boot_id", tmp_path / "pid"
    monkeypatch.setattr(loading, "_BOOT", boot)
    monkeypatch.setattr(loading, "_PROCESSES", processes)
    found = {loading._host()}  # outside Linux
    for start, container in (("1", "pid:[1]"), ("1", "pid:[2]"), ("2", "pid:[1]")):
        boot.write_text(start)
        processes.unlink(missing_ok=True)
        processes.symlink_to(container)
        found.add(loading._host())
    assert len(found) == 4


@pytest.mark.parametrize(
    "moment", ["/containers/json", "/images/create", "/containers/create", "/containers/c/attach"]
)
def test_an_engine_that_dies_is_no_bug_of_ours(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image(manifest=b"{}", config=b"{}", layers=())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with engine({path: said for path, said in ANSWERS.items() if path != moment}) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        runtime = connect(Store(tmp_path))
        with pytest.raises(MissingToolError, match="went away"):
            runtime.run(image, Command(args=("true",)), progress=Silent())


def test_the_engine_of_the_docker_context_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"far").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    with engine(ANSWERS) as host:
        endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
        meta.write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoints}))
        (tmp_path / "config.json").write_text('{"currentContext": "far"}')
        client = connect(Store(tmp_path)).client
        assert client.api.base_url == host.replace("tcp", "http")


@pytest.fixture
def offered(tmp_path: Path) -> Iterator[tuple[str, Image]]:
    store = Store(tmp_path)
    layer, config = b"the layer", canonical_json({"rootfs": {}})
    manifest = canonical_json({"config": {"mediaType": OCI_CONFIG}})
    image = Image(
        manifest=manifest,
        config=config,
        layers=(Layer(digest=store.add(layer), size=len(layer), diff_id=Digest.of(b"tar")),),
    )
    with local_registry(image, store, tag="run") as registry:
        assert not registry.visited
        yield registry.repository, image
        assert registry.visited


def test_the_offer_holds_the_image_and_nothing_else(
    offered: tuple[str, Image],
) -> None:
    repository, image = offered
    host, _, name = repository.partition("/")
    base = f"http://{host}/v2/{name}"
    assert _get(f"http://{host}/v2/") == (200, b"")
    assert _get(f"{base}/manifests/run") == (200, image.manifest)
    assert _get(f"{base}/manifests/{image.digest}") == (200, image.manifest)
    assert _get(f"{base}/blobs/{image.config_digest}") == (200, image.config)
    assert _get(f"{base}/blobs/{image.layers[0].digest}") == (200, b"the layer")
    for path in ("manifests/other", f"blobs/{Digest.of(b'other')}", "blobs/../../etc/passwd"):
        assert _get(f"{base}/{path}")[0] == 404


def test_head_has_a_length_and_no_body(offered: tuple[str, Image]) -> None:
    repository, image = offered
    host, _, name = repository.partition("/")
    request = urllib.request.Request(f"http://{host}/v2/{name}/manifests/run", method="HEAD")
    with _open(request) as answer:
        assert int(answer.headers["Content-Length"]) == len(image.manifest)
        assert answer.headers["Content-Type"] == OCI_MANIFEST
        assert answer.read() == b""


def test_a_tls_greeting_is_answered_in_plain_http(offered: tuple[str, Image]) -> None:
    host, _, port = offered[0].partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01\x00\x05hello")
        assert connection.recv(100).startswith(b"HTTP/1.0 400")
    assert _get(f"http://{host}:{port}/v2/")[0] == 200


def test_what_left_is_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    layer = os.urandom(3_000_000)
    made = Layer(digest=store.add(layer), size=len(layer), diff_id=Digest.of(b"tar"))
    image = Image(manifest=b"{}", config=b"{}", layers=(made,))
    sent: list[int] = []
    with local_registry(image, store, tag="run", on_sent=sent.append) as registry:
        base = f"http://{registry.repository.replace('/', '/v2/')}"
        assert _get(f"{base}/manifests/run") == (200, b"{}")
        assert sent == []
        assert _get(f"{base}/blobs/{made.digest}") == (200, layer)
    assert sum(sent) == len(layer)


def test_nothing_outlives_the_offer(tmp_path: Path) -> None:
    image = Image(manifest=b"{}", config=b"{}", layers=())
    before = set(threading.enumerate())
    with local_registry(image, Store(tmp_path), tag="run") as registry:
        host, _, port = registry.repository.partition("/")[0].partition(":")
        idle = socket.create_connection((host, int(port)), timeout=5)
        idle.sendall(b"HEAD /v2/ HTTP/1.1\r\n\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")  # and it is kept open, as Docker does
    assert set(threading.enumerate()) <= before
    with idle:
        assert idle.recv(1000) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_who_hangs_up_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    layer = os.urandom(16_000_000)
    made = Layer(digest=store.add(layer), size=len(layer), diff_id=Digest.of(b"tar"))
    image = Image(manifest=b"{}", config=b"{}", layers=(made,))
    with local_registry(image, store, tag="run") as registry:
        address, _, name = registry.repository.partition("/")
        host, _, port = address.partition(":")
        request = f"GET /v2/{name}/blobs/{made.digest} HTTP/1.1\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(request.encode())
            assert connection.recv(10).startswith(b"HTTP/1.1")
    assert capfd.readouterr().err == ""


def _get(url: str) -> tuple[int, bytes]:
    try:
        with _open(url) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
