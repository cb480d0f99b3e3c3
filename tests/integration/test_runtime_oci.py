"""Commands in real containers, by crun and by runc: the walls, the limits, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from envbuilder.model.errors import MissingToolError, SmokeError, UsageError
from envbuilder.model.image import Image
from envbuilder.model.progress import Silent
from envbuilder.runtime import OUTPUT_LIMIT, Command, Completed, Mount, cdi, choose, oci
from envbuilder.runtime.oci import OciRuntime, find_program
from envbuilder.runtime.trees import list_layers
from envbuilder.storage.store import Store
from envbuilder.workflow.prune import prune
from tests.integration.tiny_image import tiny_image

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BECOME_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
UNPRIVILEGED = BECOME_USER if os.geteuid() == 0 else ()
HOG = "head -c 400000000 /dev/zero | tail | wc -c"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def image(store: Store) -> Image:
    config = {"Env": ["PATH=/bin", "COLOUR=red"], "WorkingDir": "/home/builder"}
    return tiny_image(store, config=config)


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest, store: Store) -> OciRuntime:
    program = find_program(request.param)
    assert program, f"these tests need {request.param}: apt-get install {request.param}"
    return OciRuntime(program=program, store=store)


@pytest.fixture(autouse=True)
def marker(monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[str]:
    """Mark every process of a test, so that what outlives it is found."""
    mark = f"test-{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv("RUN_OF", mark)
    yield mark
    assert _processes(mark) == []
    assert str(store.root) not in Path("/proc/self/mountinfo").read_text()
    assert list(store.root.glob("cage/*")) == []
    assert _cgroups(os.getpid()) == []


def _cgroups(pid: int) -> list[str]:
    return [place for place, _, _ in os.walk("/sys/fs/cgroup") if f"/envbuilder-{pid}-" in place]


def _processes(mark: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"RUN_OF={mark}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return [line for line in found if "pytest" not in line]


def _run(runtime: OciRuntime, image: Image, script: str, **options: Any) -> Completed:
    options["env"] = {"RUN_OF": os.environ["RUN_OF"], **options.get("env", {})}
    command = Command(args=("sh", "-c", script), **options)
    return runtime.run(image, command, progress=Silent())


def test_a_command_sees_the_image_and_gives_back_its_result(
    runtime: OciRuntime, image: Image
) -> None:
    script = "cat; pwd; echo $COLOUR $SIZE $HOME; echo oops >&2; exit 7"
    done = _run(runtime, image, script, stdin=b"hello\n", env={"SIZE": "big"})
    assert done.stdout == b"hello\n/home/builder\nred big /root\n"
    assert done.stderr == b"oops\n"
    assert (done.exit_code, done.timed_out, done.out_of_memory) == (7, False, False)
    assert done.peak_memory
    assert 1 << 20 < done.peak_memory < 1 << 30


def test_there_is_no_network_but_loopback(runtime: OciRuntime, image: Image) -> None:
    done = _run(runtime, image, "ls /sys/class/net; cat /proc/net/fib_trie /proc/net/route")
    assert done.stdout.split()[0] == b"lo"
    assert b"127.0.0.1" in done.stdout
    assert len(done.stdout.splitlines()) < 40


def test_nothing_can_be_written_but_in_memory(runtime: OciRuntime, image: Image) -> None:
    script = "for d in / /bin /root /tmp /dev/shm /scratch; do touch $d/x && echo $d; done"
    done = _run(runtime, image, script, tmpfs=("/scratch",))
    assert done.stdout.split() == [b"/tmp", b"/dev/shm", b"/scratch"]
    assert b"Read-only file system" in done.stderr


def test_a_command_has_no_privileges(runtime: OciRuntime, image: Image) -> None:
    done = _run(runtime, image, "cat /proc/self/status; cat /proc/keys /proc/timer_list; ls /dev")
    status = dict(line.split(b":\t", 1) for line in done.stdout.splitlines() if b":\t" in line)
    assert {int(status[name], 16) for name in (b"CapEff", b"CapPrm", b"CapBnd", b"CapAmb")} == {0}
    assert status[b"NoNewPrivs"] == b"1"
    assert b"vda" not in done.stdout.split()


def test_mounts_are_read_only_unless_asked(
    runtime: OciRuntime, image: Image, tmp_path: Path
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


def test_a_mount_of_nothing_is_refused(runtime: OciRuntime, image: Image, tmp_path: Path) -> None:
    mounts = (Mount(source=tmp_path / "nonesuch", target="/probe"),)
    with pytest.raises(UsageError, match="nonesuch at /probe: it does not exist"):
        _run(runtime, image, "true", mounts=mounts)


def test_the_user_of_the_image_is_honoured(runtime: OciRuntime, store: Store) -> None:
    image = tiny_image(store, config={"Env": ["PATH=/bin"], "User": "builder:video"})
    assert _run(runtime, image, "id -u; id -g; echo $HOME").stdout == b"1000\n44\n/home/builder\n"
    assert _run(runtime, image, "id -u", user="0").stdout == b"0\n"
    with pytest.raises(SmokeError, match="no user 'nobody'"):
        _run(runtime, image, "id", user="nobody")


def test_upper_layers_change_and_delete_what_lies_below(runtime: OciRuntime, store: Store) -> None:
    layers = [
        {"data/keep": b"1", "data/drop": b"1", "old/a": b"1", "old/b": b"1"},
        {"data/keep": b"2", "data/.wh.drop": b"", "old/.wh..wh..opq": b"", "old/c": b"2"},
    ]
    image = tiny_image(store, config={"Env": ["PATH=/bin"]}, layers=layers)
    done = _run(runtime, image, "cat data/keep; ls data old")
    assert done.stdout == b"2data:\nkeep\n\nold:\nc\n"


def test_a_layer_that_is_there_twice_counts_where_it_is_last(
    runtime: OciRuntime, store: Store
) -> None:
    """Builders title one (an empty one, mostly) by the step that made it: twice, differently."""
    again = {"data/both": b"again"}
    layers = [again, {"data/both": b"between"}, again]
    plain = tiny_image(store, layers=layers)
    titled = tuple(replace(each, title=str(number)) for number, each in enumerate(plain.layers))
    image = replace(plain, layers=titled)
    assert _run(runtime, image, "/bin/cat data/both").stdout == b"again"


def test_a_hundred_and_twenty_layers_run(runtime: OciRuntime, store: Store) -> None:
    layers = [{f"data/{number}": b"x"} for number in range(119)]
    image = tiny_image(store, config={"Env": ["PATH=/bin"]}, layers=layers)
    assert _run(runtime, image, "ls data | wc -l").stdout == b"119\n"


def test_time_out_ends_every_process(runtime: OciRuntime, image: Image) -> None:
    done = _run(runtime, image, "echo begun; (sleep 60 &); trap '' TERM INT; sleep 60", timeout=5)
    assert (done.timed_out, done.exit_code, done.stdout) == (True, 137, b"begun\n")


def test_memory_is_limited(runtime: OciRuntime, image: Image) -> None:
    done = _run(runtime, image, HOG, memory=100_000_000, timeout=60)
    if done.memory_limit == "cgroup":
        assert done.out_of_memory
    else:
        assert b"memory exhausted" in done.stderr
    assert b"400000000" not in done.stdout
    assert not done.timed_out


def test_memory_within_the_limit_is_no_trouble(runtime: OciRuntime, image: Image) -> None:
    done = _run(runtime, image, HOG, memory=900_000_000, timeout=60)
    assert done.stdout == b"400000000\n"
    assert not done.out_of_memory
    assert done.peak_memory
    assert done.peak_memory > 400_000_000


def test_a_flood_is_cut_and_drained(runtime: OciRuntime, image: Image) -> None:
    script = "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; exit 3"
    done = _run(runtime, image, script, timeout=120)
    assert (done.exit_code, done.truncated) == (3, True)
    assert len(done.stdout) == len(done.stderr) == OUTPUT_LIMIT


def test_input_that_nobody_reads_does_no_harm(runtime: OciRuntime, image: Image) -> None:
    assert _run(runtime, image, "echo done", stdin=b"x" * 10_000_000).stdout == b"done\n"


def test_large_input_and_output_at_once_do_not_block(runtime: OciRuntime, image: Image) -> None:
    data = os.urandom(20_000_000)
    assert _run(runtime, image, "cat", stdin=data).stdout == data


def test_a_program_that_the_image_lacks_is_named(runtime: OciRuntime, image: Image) -> None:
    with pytest.raises(SmokeError, match="nonesuch cannot be started"):
        runtime.run(image, Command(args=("nonesuch",)), progress=Silent())


def test_gpus_without_a_toolkit_are_refused(
    runtime: OciRuntime, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = partial(cdi.nvidia_devices, directories=())  # whatever this host has
    monkeypatch.setattr(cdi, "nvidia_devices", bare)
    with pytest.raises(MissingToolError, match="CDI"):
        _run(runtime, image, "true", gpus=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_us(
    runtime: OciRuntime, image: Image, store: Store, marker: str, number: signal.Signals
) -> None:
    ours = _start(store.root, runtime.name, "echo up >&2; sleep 305")
    _wait_for(lambda: any(line.startswith("sleep 305") for line in _processes(marker)))
    ours.send_signal(number)
    ours.communicate(timeout=20)
    _wait_for(lambda: not _processes(marker))
    if number is not signal.SIGINT:  # a process that dies at once leaves its cgroup to the next
        _wait_for(lambda: _run_limited(runtime, image).exit_code == 0 and not _cgroups(ours.pid))
    assert _cgroups(ours.pid) == []


def test_runs_do_not_disturb_each_other(
    runtime: OciRuntime, image: Image, store: Store, marker: str
) -> None:
    ours = _start(store.root, runtime.name, "sleep 2; echo well")
    _wait_for(lambda: any(line.startswith("sleep 2") for line in _processes(marker)))
    done = [_run(runtime, image, "echo mine", memory=100_000_000).stdout for _ in range(3)]
    assert done == [b"mine\n"] * 3
    assert json.loads(ours.communicate(timeout=20)[0])["stdout"] == "well\n"


@pytest.mark.parametrize("user", ["0", "1000:44"])
def test_an_unprivileged_user_can_run_images(
    runtime: OciRuntime, tmp_path: Path, user: str
) -> None:
    script = "id -u; id -g; cat /etc/passwd | wc -l; ls /sys/class/net; touch /x"
    ours = _start(tmp_path, runtime.name, script, user=user, prefix=UNPRIVILEGED)
    stdout, stderr = ours.communicate(timeout=60)
    if (runtime.name, user) == ("runc", "1000:44"):
        assert ours.returncode == 1
        assert b"runc cannot run a command as user 1000:44" in stderr
        return
    assert ours.returncode == 0, stderr.decode()
    done = json.loads(stdout)
    uid, _, gid = user.partition(":")
    assert done["stdout"].split() == [uid, gid or "0", "2", "lo"]
    assert "Read-only file system" in done["stderr"]
    assert done["peak_memory"]


def test_a_host_without_cgroups_limits_each_process(runtime: OciRuntime, tmp_path: Path) -> None:
    # What a process in an unprivileged container of another engine meets.
    hide = (
        "while read -r _ _ _ _ place _; do case $place in /sys/fs/cgroup*)"
        ' mount -o remount,bind,ro $place;; esac; done </proc/self/mountinfo; exec "$@"'
    )
    become_root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    prefix = ("unshare", "--mount", *become_root, "sh", "-c", hide, "sh")
    ours = _start(tmp_path, runtime.name, HOG, prefix=prefix)
    stdout, stderr = ours.communicate(timeout=60)
    assert ours.returncode == 0, stderr.decode()
    done = json.loads(stdout)
    assert done["memory_limit"] == "rlimit"
    assert "memory exhausted" in done["stderr"]
    assert done["peak_memory"] < 250_000_000


def test_a_host_without_user_namespaces_says_so(runtime: OciRuntime, tmp_path: Path) -> None:
    # A user namespace that may hold one more, which the unprivileged user takes.
    forbid = 'echo 1 >/proc/sys/user/max_user_namespaces; exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", *BECOME_USER)
    ours = _start(tmp_path, runtime.name, "true", prefix=prefix)
    _, stderr = ours.communicate(timeout=60)
    assert ours.returncode == 1
    assert "does not allow us to run containers" in stderr.decode()


def test_a_forbidden_cage_is_met_before_any_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci, "namespaces", lambda: ["sh", "-c", "echo forbidden >&2; exit 1"])
    with pytest.raises(MissingToolError, match="does not allow us to run containers: forbidden"):
        choose("oci", store)


def _run_limited(runtime: OciRuntime, image: Image) -> Completed:
    return _run(runtime, image, "true", memory=100_000_000)


def _start(
    place: Path, runtime: str, script: str, *, user: str = "0", prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "tests.integration.run_tiny_image"]
    return subprocess.Popen(
        [*prefix, *program, str(place), runtime, script, user, "200000000"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 seconds"
        time.sleep(0.02)


def test_a_container_keeps_the_files_that_a_prune_would_take(
    runtime: OciRuntime, tmp_path: Path
) -> None:
    """A file opened late is there; once nobody runs, image and trees go."""
    own = Store(tmp_path)
    image = tiny_image(own, config={"Env": ["PATH=/bin"]}, layers=[{"late": b"read late"}])
    with replace(runtime, store=own).prepared(image, progress=Silent()) as ready:
        for blob in own.ls():
            os.utime(own.path(blob.digest), (0, 0))
        prune(Store(tmp_path), None, reports=0, sources=0)
        done = ready.run(Command(args=("cat", "/late"), env={"RUN_OF": os.environ["RUN_OF"]}))
    assert done.stdout == b"read late"
    prune(Store(tmp_path), None, reports=0, sources=0)
    assert list_layers(own) == own.ls() == []
