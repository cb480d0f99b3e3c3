"""Commands in a real Docker Engine (`make engine`): the walls, the limits, and nothing left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envbuilder.model.errors import MissingToolError, SmokeError
from envbuilder.model.image import Image
from envbuilder.model.progress import Silent
from envbuilder.runtime import OUTPUT_LIMIT, Command, Completed, Mount, choose
from envbuilder.runtime.docker import DockerRuntime, connect
from envbuilder.runtime.loading import remove_abandoned
from envbuilder.runtime.local_registry import local_registry
from envbuilder.storage.store import Store
from tests.integration.tiny_image import tiny_image

pytestmark = [pytest.mark.integration, pytest.mark.docker]

ROOT = Path(__file__).parents[2]
OURS = "envbuilder-run-[0-9a-f]+"
HOG = "head -c 400000000 /dev/zero | tail | wc -c"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def image(store: Store) -> Image:
    config = {"Env": ["PATH=/bin", "COLOUR=red"], "WorkingDir": "/home/builder"}
    return tiny_image(store, config=config)


@pytest.fixture(scope="module")
def runtime(store: Store) -> Iterator[DockerRuntime]:
    found = connect(store)
    yield found
    found.client.close()


@pytest.fixture(autouse=True)
def no_leftovers(runtime: DockerRuntime) -> Iterator[None]:
    yield
    assert _left_by(os.getpid(), runtime) == []


def _left_by(pid: int, runtime: DockerRuntime) -> list[str]:
    """Name the containers and images in the engine that runs of the process ``pid`` made."""
    api = runtime.client.api
    names = [name for entry in api.containers(all=True) for name in entry["Names"]]
    names += [tag for entry in api.images() for tag in entry["RepoTags"] or ()]
    return [name for name in names if re.search(f"{OURS}-{pid}-", name)]


def _run(runtime: DockerRuntime, image: Image, script: str, **options: Any) -> Completed:
    command = Command(args=("sh", "-c", script), **options)
    return runtime.run(image, command, progress=Silent())


def test_a_command_sees_the_image_and_gives_back_its_result(
    runtime: DockerRuntime, image: Image
) -> None:
    script = "cat; pwd; echo $COLOUR $SIZE $HOME; echo oops >&2; exit 7"
    done = _run(runtime, image, script, stdin=b"hello\n", env={"SIZE": "big"})
    assert done.stdout == b"hello\n/home/builder\nred big /root\n"
    assert done.stderr == b"oops\n"
    assert (done.exit_code, done.timed_out, done.out_of_memory) == (7, False, False)


def test_the_walls_stand(runtime: DockerRuntime, image: Image) -> None:
    script = (
        "ls /sys/class/net; cat /proc/self/status;"
        "for d in / /bin /root /tmp /dev/shm /scratch; do touch $d/x && echo $d; done"
    )
    done = _run(runtime, image, script, tmpfs=("/scratch",))
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "lo"
    assert lines[-3:] == ["/tmp", "/dev/shm", "/scratch"]
    assert {"NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} < set(lines)


def test_mounts_are_read_only_unless_asked(
    runtime: DockerRuntime, image: Image, tmp_path: Path
) -> None:
    probe, results = tmp_path / "probe.txt", tmp_path / "results"
    probe.write_text("probe")
    results.mkdir()
    mounts = (
        Mount(source=probe, target="/opt/deep/probe.txt"),
        Mount(source=results, target="/results", read_only=False),
    )
    script = "cat /opt/deep/probe.txt >/results/copy; touch /opt/deep/probe.txt"
    done = _run(runtime, image, script, mounts=mounts)
    assert (results / "copy").read_text() == "probe"
    assert b"Read-only file system" in done.stderr


def test_the_user_can_be_chosen(runtime: DockerRuntime, image: Image) -> None:
    assert _run(runtime, image, "id -u; id -g", user="builder:video").stdout == b"1000\n44\n"


def test_time_out_ends_the_container(runtime: DockerRuntime, image: Image) -> None:
    done = _run(runtime, image, "echo begun; trap '' TERM; sleep 60", timeout=2)
    assert (done.timed_out, done.exit_code, done.stdout) == (True, 137, b"begun\n")
    assert done.seconds < 20


def test_memory_is_limited(runtime: DockerRuntime, image: Image) -> None:
    done = _run(runtime, image, HOG, memory=100_000_000)
    assert (done.out_of_memory, done.memory_limit) == (True, "cgroup")
    assert b"400000000" not in done.stdout


def test_a_flood_is_cut_and_drained(runtime: DockerRuntime, image: Image) -> None:
    script = "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; exit 3"
    done = _run(runtime, image, script)
    assert (done.exit_code, done.truncated) == (3, True)
    assert len(done.stdout) == len(done.stderr) == OUTPUT_LIMIT


def test_large_input_and_output_at_once_do_not_block(runtime: DockerRuntime, image: Image) -> None:
    data = os.urandom(5_000_000)
    assert _run(runtime, image, "cat", stdin=data).stdout == data
    assert _run(runtime, image, "echo done", stdin=data).stdout == b"done\n"


def test_what_cannot_start_is_named(runtime: DockerRuntime, image: Image) -> None:
    with pytest.raises(SmokeError, match="nonesuch cannot be started"):
        runtime.run(image, Command(args=("nonesuch",)), progress=Silent())
    with pytest.raises(MissingToolError, match="GPU"):
        _run(runtime, image, "true", gpus=True)


def test_only_missing_layers_are_sent(runtime: DockerRuntime, store: Store) -> None:
    config = {"Env": ["PATH=/bin"]}
    small = tiny_image(store, config=config)
    large = tiny_image(store, config=config, layers=[{"data/new": os.urandom(1000)}])
    with runtime.prepared(small, progress=Silent()):
        sent: list[int] = []
        with local_registry(large, store, tag="more", on_sent=sent.append) as registry:
            pulled = runtime.client.images.pull(registry.repository, tag="more")
        try:
            assert sum(sent) == large.layers[-1].size
        finally:
            runtime.client.images.remove(pulled.tags[0])


def test_an_engine_that_cannot_reach_us_gets_an_archive(
    runtime: DockerRuntime, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The engine looks for us at a port where nobody is, as one on another host would.
    monkeypatch.setattr("envbuilder.runtime.local_registry.HOST", "127.0.0.99")
    assert _run(runtime, image, "echo $COLOUR").stdout == b"red\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_us(runtime: DockerRuntime, store: Store, number: signal.Signals) -> None:
    program = [sys.executable, "-m", "tests.integration.run_tiny_image"]
    ours = subprocess.Popen(
        [*program, str(store.root), "docker", "echo up; sleep 300", "0", "200000000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    deadline = time.monotonic() + 60
    while not runtime.client.api.containers(filters={"name": f"{OURS}-{ours.pid}-"}):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ours.send_signal(number)
    ours.wait(60)
    if number is signal.SIGKILL:
        assert len(_left_by(ours.pid, runtime)) == 2  # the container and its image
        remove_abandoned(runtime.client)  # as the next run does
    assert _left_by(ours.pid, runtime) == []


def test_auto_falls_back_on_what_is_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("docker", store).name == "docker"
    assert choose("auto", store).name in {"crun", "runc"}
    monkeypatch.setenv("PATH", "/nonesuch")
    monkeypatch.setattr("envbuilder.runtime.oci._SYSTEM_PATH", ())
    assert choose("auto", store).name == "docker"
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(MissingToolError, match="nothing here can run containers"):
        choose("auto", store)
