"""Environments made as jobs of a cluster: a stand-in of Ray's dashboard that really runs them.

``real_ray.py`` beside this tells the same stories with a real Ray (``make ray``).
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.model.pylock import lock_checksum, lock_path, read_lock
from envbuilder.net.config import Settings
from envbuilder.smoke.touched import read_touched
from envbuilder.storage import build_records
from envbuilder.storage.store import Store
from envbuilder.workflow.cluster.jobs_api import JobsApi
from tests.integration.cluster_team import Team, a_team
from tests.servers.ray_exchanges import RECORDED, exchanges
from tests.servers.ray_jobs import Dashboard, Machine, ray_jobs
from tests.servers.scripted import scripted

pytestmark = [pytest.mark.integration]

SECONDS = 300
WITHOUT_TWO = """/opt/venv/bin/python -c '
from importlib.util import find_spec
exit(find_spec("two") is not None)'"""


class World:
    """A team, and a cluster of two machines with GPUs of different types."""

    def __init__(self, team: Team, dashboard: Dashboard, url: str) -> None:
        self.team, self.dashboard, self.url = team, dashboard, url

    def regenerate(self, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess:
        command = ("regenerate", *args, "--cluster", self.url, "-o", "json", "--progress", "plain")
        return self.team.run(*command, code=code, **env)

    def running(self) -> None:
        """Wait until a job runs."""
        self.wait(lambda: "RUNNING" in [job["status"] for job in self.dashboard.jobs.values()])

    @staticmethod
    def wait(true) -> None:
        end = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.05)


def python_of(folder: Path, *, line: str = f'exec "{sys.executable}" "$@"') -> str:
    """Make a folder with a ``python``; return a PATH that begins with it."""
    folder.mkdir(parents=True)
    (folder / "python").write_text(f"#!/bin/sh\n{line}\n")
    (folder / "python").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def machine(team: Team, name: str, **more) -> Machine:
    path = python_of(team.folder / "machines" / name / "bin")
    env = {"PATH": path, "SECRET_OF_THE_MACHINE": "x", **team.machine(name)}
    return Machine(name=name, folder=team.folder / "machines" / name, env=env, **more)


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    with a_team(tmp_path_factory.mktemp("team"), {"one": 200_000, "two": 300_000}) as made:
        made.write("alone", {"one": "*"})
        made.write("both", {"one": "*", "two": "*"}, gpus=["H100", "L4"])
        made.run("lock", "alone")
        made.run("lock", "both")
        yield made


@pytest.fixture
def world(team):
    ours = [machine(team, name, gpu=gpu) for name, gpu in (("a", "H100"), ("b", "L4"))]
    try:
        with ray_jobs(ours) as (dashboard, server):
            yield World(team, dashboard, f"http://{server.host}")
    finally:
        for each in ours:
            subprocess.run(["rm", "-rf", each.folder / "bin"], check=True)


def test_the_stand_in_answers_as_ray_did(tmp_path):
    one = Machine(name="a", folder=tmp_path, env={"PATH": os.environ["PATH"]})
    with ray_jobs([one]) as (_, server):
        assert exchanges(f"http://{server.host}") == json.loads(RECORDED.read_text())


def test_jobs_give_what_a_build_here_would(world):
    team = world.team
    team.index.seen.clear()
    key = str(team.folder / "team.key")
    done = world.regenerate("--all", ENVBUILDER_REMOTE_STORE_KEY=key, TOKEN_OF_MINE="s3cret")
    assert [(each["name"], each["code"]) for each in json.loads(done.stdout)] == [
        ("alone", 0),
        ("both", 0),
    ]
    message = json.loads(done.stdout)[1]["message"]
    assert sorted(part.partition(":")[0] for part in message.split("; ")) == ["H100", "L4"]
    assert dict(team.fetched()) == {f"{name}-1.0-py3-none-any.whl": 1 for name in ("one", "two")}

    spec = team.folder / "lockfiles" / "both.yaml"
    lock = read_lock(lock_path(spec))
    first, second = team.entries("both")
    assert lock.seal is not None
    assert {first.image, second.image} == {lock.seal.manifest}
    assert first.good
    assert second.good
    store = Store(Path(team.env["ENVBUILDER_CACHE"]))
    assert build_records.recall(store, first.lock).lock == lock_path(spec).read_bytes()
    report, _ = build_records.recall_report(store, lock.seal.manifest)
    assert report["about"]["lock"] == str(first.lock)
    assert {first.host.gpu, second.host.gpu} == {"H100", "L4"}
    needed = read_touched(spec.parent / "both.start.json")
    assert needed is not None
    assert needed[0] == lock_checksum(lock)
    assert report["start"] == needed[1].summary

    asked = {each["submission_id"]: each for each in world.dashboard.submitted}
    kinds = {
        name.rpartition("-")[0].rpartition("-")[0]: (
            job.get("entrypoint_num_gpus"),
            job.get("entrypoint_label_selector"),
            job["entrypoint_memory"],
        )
        for name, job in asked.items()
    }
    label = "ray.io/accelerator-type"
    assert kinds == {
        "envbuilder-alone-any": (None, None, 1 << 30),
        "envbuilder-both-h100": (1, {label: "H100"}, 1 << 30),
        "envbuilder-both-l4": (1, {label: "L4"}, 1 << 30),
    }
    assert world.dashboard.jobs == {}, "what lies in the project, the cluster may forget"
    _no_secrets(world.dashboard, team)

    before = lock_path(spec).read_bytes()
    team.run("build", "both", "--locked", ENVBUILDER_REMOTE_STORE="")
    assert lock_path(spec).read_bytes() == before, "a build here gives the very same seal"


def _no_secrets(dashboard: Dashboard, team: Team) -> None:
    """Look for this machine's variables and the key in all that the cluster shows to everybody."""
    texts = [json.dumps(job).encode() for job in dashboard.submitted]
    for package in dashboard.packages.values():
        with zipfile.ZipFile(BytesIO(package)) as archive:
            texts += [archive.read(name) for name in archive.namelist()]
    key = (team.folder / "team.key").read_bytes().splitlines()[1]
    whole = b"\n".join(texts)
    assert b"s3cret" not in whole
    assert b"team.key" not in whole
    assert key not in whole
    assert (team.folder / "team.pub").read_bytes() in whole


def test_a_killed_driver_is_taken_up_where_it_was(world):
    world.dashboard.hold.set()
    driver = world.team.start("regenerate", "alone", "--cluster", world.url)
    world.running()
    driver.kill()
    driver.communicate()
    world.dashboard.hold.clear()
    world.wait(lambda: all(job["status"] == "SUCCEEDED" for job in world.dashboard.jobs.values()))
    before = len(world.team.entries("alone"))
    done = world.regenerate("alone")
    assert "alone: found job envbuilder-alone-any-" in done.stderr
    assert len(world.dashboard.submitted) == 1
    assert len(world.team.entries("alone")) == before + 1


def test_an_interrupt_leaves_the_jobs_and_stop_ends_them(world):
    world.dashboard.hold.set()
    driver = world.team.start("regenerate", "alone", "--cluster", world.url)
    world.running()
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "the jobs go on in the cluster: the same command collects" in err
    assert [job["status"] for job in world.dashboard.jobs.values()] == ["RUNNING"]
    stopped = world.regenerate("alone", "--stop")
    assert json.loads(stopped.stdout)[0]["message"] == "1 stopped"
    assert [job["status"] for job in world.dashboard.jobs.values()] == ["STOPPED"]
    assert "no job is running" in world.regenerate("alone", "--stop").stdout


def test_a_machine_that_is_lost_costs_its_job_alone(world):
    world.dashboard.hold.set()
    killed = threading.Thread(target=lambda: (world.running(), _lose_one(world)))
    killed.start()
    done = world.regenerate("alone")
    killed.join()
    assert "its machine was lost; it is submitted again" in done.stderr
    first, second = (job["submission_id"] for job in world.dashboard.submitted)
    assert (first[-2:], second) == ("-1", f"{first[:-1]}2")
    assert json.loads(done.stdout)[0]["code"] == 0


def _lose_one(world: World) -> None:
    name = next(job["driver_node_id"] for job in world.dashboard.jobs.values())
    world.dashboard.kill(next(each for each in world.dashboard.machines if each.name == name))
    world.dashboard.hold.clear()


def test_what_no_machine_has_is_said_before_anything_waits(world):
    path = world.team.write("big", {"one": "*"}, gpus=["B200"])
    world.team.run("lock", "big")
    done = world.regenerate("big", code=6)
    assert "can run big, which needs 1 GPU of type B200, 1.0 GiB of memory; it has" in done.stderr
    assert "127.0.0.3: 2 CPUs, 1 GPUs (L4), 32.0 GiB of memory" in done.stderr
    assert world.dashboard.submitted == []
    path.unlink()


def test_a_machine_without_the_tool_says_so(world):
    ours = world.dashboard.machines
    for each in ours:
        bare = python_of(each.folder / "bare", line=f'exec "{sys.executable}" -S "$@"')
        each.env = {**each.env, "PATH": bare, "PYTHONPATH": ""}
    done = world.regenerate("alone", code=6)
    assert "of that machine cannot import envbuilder: No module named" in done.stderr
    assert "pip install gpu-envbuilder==" in done.stderr
    assert world.dashboard.jobs == {}
    for each in ours:
        each.env = {**each.env, "PATH": python_of(each.folder / "none", line="exit 127")}
    done = world.regenerate("alone", code=7)
    assert "ended without an answer: Job entrypoint command failed" in done.stderr


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"nothing here", "answered 404: nothing here"),
        (200, b"<html>", "does not answer as Ray does: the answer of http://"),
        (200, b'{"ok": true}', "does not answer as Ray does: lacks ray_version"),
        (401, b"", "wants to know who asks"),
    ],
)
def test_what_is_no_ray_is_told(status, body, said):
    with (
        scripted(lambda call, _: call.answer(status, body)) as server,
        JobsApi(f"http://{server.host}", token=None, settings=Settings()) as api,
        pytest.raises(NetworkError, match=said),
    ):
        api.ray_version()


def test_a_cluster_that_is_not_there_or_no_address(team, closed):
    gone = team.run("regenerate", "alone", "--cluster", f"http://{closed}", code=10)
    assert "cannot reach" in gone.stderr
    for bad in ("head:8265", "ray://head:10001", "http://me:pw@head:8265", "http://head:x"):
        with pytest.raises(UsageError, match="of a Ray cluster") as caught:
            JobsApi.from_environment(bad)
        assert "pw" not in f"{caught.value.message} {caught.value.hint}"


def test_a_token_opens_the_cluster(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with ray_jobs([], token="right") as (_, server):

        def version(**environ: str) -> str:
            with JobsApi.from_environment(f"http://{server.host}", environ) as api:
                return api.ray_version()

        with pytest.raises(NetworkError) as caught:
            version()
        assert caught.value.hint == "set RAY_AUTH_TOKEN to the cluster's token"
        with pytest.raises(NetworkError) as caught:
            version(RAY_AUTH_TOKEN="wrong")
        assert "is not this cluster's" in caught.value.hint
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("right\n")
        assert version() == version(RAY_AUTH_TOKEN="right") == "2.60.0"
        named = str(tmp_path / ".ray" / "auth_token")
        assert version(RAY_AUTH_TOKEN_PATH=named) == "2.60.0"
        with pytest.raises(UsageError, match="which does not exist"):
            version(RAY_AUTH_TOKEN_PATH=str(tmp_path / "nowhere"))


@pytest.mark.deep
def test_a_bisection_and_a_bump_build_there(world):
    team = world.team
    team.write("moved", {"one": "*"})
    team.run("lock", "moved")
    old = team.folder / "old.toml"
    old.write_bytes((team.folder / "lockfiles" / "pylock.moved.toml").read_bytes())
    team.write("moved", {"one": "*", "two": "*"})
    team.run("lock", "moved")
    ends = ("--good", str(old), "--run", WITHOUT_TWO)
    found = team.run("bisect", "moved", *ends, "--cluster", world.url, "-o", "json")
    assert "two" in json.dumps(json.loads(found.stdout)["guilty"])
    assert len(world.dashboard.submitted) == 2, "both ends, which differ in one thing"
    assert world.dashboard.jobs == {}

    bumped = world.regenerate("moved", "--bump", "one==1.0")
    assert "known good" in json.loads(bumped.stdout)[0]["message"]
    assert team.entries("moved")[-1].good
    assert 'one": "==1.0"' in (team.folder / "lockfiles" / "moved.yaml").read_text()
