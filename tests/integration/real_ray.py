"""Environments made on a real Ray: two machines on loopback, lost machines, killed drivers.

``make ray`` runs it, in a network namespace that has nothing but loopback, with the Ray of
``RAY_PYTHON``'s environment, which has this envbuilder, too.
"""

import json
import os
import re
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import pytest
import requests

from envbuilder.workflow.cluster.jobs_api import JobsApi
from tests.integration.cluster_team import Team, a_team
from tests.servers.ray import Cluster, Machine, real_ray
from tests.servers.ray_exchanges import RECORDED, exchanges

PYTHON = Path(os.environ.get("RAY_PYTHON", "build/ray/bin/python")).absolute()
SECONDS = 600


def nine(name: str, wheel: str) -> dict[str, dict[str, str]]:
    """Return nine environments with their wheels, of six: most have several in common."""
    return {
        f"{name}{number}": {
            f"{wheel}0": "*", f"{wheel}{1 + number % 5}": "*", f"{wheel}{1 + (number + 1) % 5}": "*"
        }
        for number in range(9)
    }  # fmt: skip


WHEELS = {f"w{number}": 200_000 for number in range(6)}
NINE = nine("env", "w")

REAL = Path(os.environ.get("RAY_WHEELS", "build/ray-wheels")).absolute()
REQUIRED = Path(__file__).with_name("ray_wheels.txt").read_text()
FURTHER = {
    "networkx": ["networkx"],
    "seaborn": ["seaborn"],
    "statsmodels": [
        "formulaic", "interface-meta", "patsy", "statsmodels", "typing-extensions", "wrapt"
    ],
    "sympy": ["mpmath", "sympy"],
}  # fmt: skip
COMMON = set(re.findall(r"^([\w-]+)==", REQUIRED, re.MULTILINE)) - set().union(*FURTHER.values())
IMPORTED = ("scipy.stats", "pandas", "sklearn.ensemble", "matplotlib.pyplot")


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    with a_team(tmp_path_factory.mktemp("team"), WHEELS) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(team, tmp_path_factory):
    machines = [
        Machine(name="a", gpu="H100", env=team.machine("a")),
        Machine(name="b", gpu="L4", env=team.machine("b")),
    ]
    with real_ray(tmp_path_factory.mktemp("ray"), PYTHON, machines) as running:
        yield running


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    """Return seconds by the machines that took them."""
    return {}


def regenerate(team: Team, cluster: Cluster, *args: str, code: int = 0):
    done = team.run("regenerate", *args, "--cluster", cluster.url, "-o", "json", code=code)
    return {each["name"]: each for each in json.loads(done.stdout)}, done.stderr


def running(cluster: Cluster) -> set[str]:
    """Return the ids of the jobs that have a machine and are at work."""
    jobs = requests.get(f"{cluster.url}/api/jobs/", timeout=60).json()
    return {job["submission_id"] for job in jobs if job["status"] == "RUNNING"}


def test_a_token_opens_a_real_cluster(tmp_path):
    token = "0123456789abcdef" * 2
    auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    with real_ray(tmp_path, PYTHON, [Machine(name="t")], **auth) as guarded:
        for environ, refused in (({}, True), ({"RAY_AUTH_TOKEN": "f" * 32}, True), (auth, False)):
            with JobsApi.from_environment(guarded.url, {"HOME": "/nowhere", **environ}) as api:
                if refused:
                    with pytest.raises(Exception, match="wants to know who asks"):
                        api.nodes()
                else:
                    assert len(api.nodes()) == 1


def nine_real(team: Team) -> dict[str, Path]:
    """Write nine environments as people have them: 110 MB in common, and two or three libraries.

    The smoke test imports what each is for, as a service does that starts.
    """
    wanted = [*combinations(FURTHER, 2), *combinations(FURTHER, 3)][:9]
    written = {}
    for number, libraries in enumerate(wanted):
        packages = [
            *sorted(COMMON),
            *(wheel for library in libraries for wheel in FURTHER[library]),
        ]
        imports = f"import {', '.join([*IMPORTED, *libraries])}"
        written[f"real{number}"] = team.write(
            f"real{number}",
            dict.fromkeys(packages, "*"),
            start={"run": ["/opt/venv/bin/python", "-c", imports]},
        )
    return written


@pytest.mark.parametrize("machines", ["pq", "p"])
def test_two_machines_beside_one(machines, tmp_path, measured):
    """Each machine has one processor of this one. A busy host is too slow for Ray's own limits."""
    wheels = sorted(REAL.glob("*.whl"))
    with a_team(tmp_path / "team", {}, real=wheels) as team:
        ours = [
            Machine(name=name, cpus=1, processor=number, env=team.machine(name))
            for number, name in enumerate(machines)
        ]
        names = list(nine_real(team))
        with real_ray(tmp_path / "ray", PYTHON, ours) as cluster:
            measured[machines] = all_good(team, cluster, names)
        assert dict(team.fetched()) == {wheel.name: 1 for wheel in wheels}
    print(f"\nnine environments on {len(machines)}: {measured[machines]:.0f} s")
    if len(measured) == 2:
        print(f"two machines beside one: {measured['pq'] / measured['p']:.2f}")


def test_the_stand_in_is_what_ray_is(cluster, request):
    found = exchanges(cluster.url)
    if request.config.getoption("--regenerate"):
        RECORDED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(RECORDED.read_text())


def test_nine_environments_layer_each_wheel_once(team, cluster):
    for name, packages in NINE.items():
        team.write(name, packages)
    print(f"\nnine environments, two machines: {all_good(team, cluster, list(NINE)):.0f} s")
    assert dict(team.fetched()) == {f"w{number}-1.0-py3-none-any.whl": 1 for number in range(6)}
    made = [len(team.entries(name)) for name in NINE]
    assert made == [1] * 9
    jobs = requests.get(f"{cluster.url}/api/jobs/", timeout=60).json()
    ours = [job for job in jobs if (job["submission_id"] or "").startswith("envbuilder-")]
    assert ours == [], "the cluster was told to forget them"


def all_good(team: Team, cluster: Cluster, names: list[str]) -> float:
    """Make environments on the cluster, all known good; return the seconds that took."""
    for name in names:
        team.run("lock", name)
    team.index.seen.clear()
    began = time.monotonic()
    results, _ = regenerate(team, cluster, *names)
    assert {name: each["code"] for name, each in results.items()} == dict.fromkeys(names, 0)
    return time.monotonic() - began


def test_each_type_of_gpu_has_a_job(team, cluster):
    team.write("typed", {"w0": "*"}, gpus=["H100", "L4"])
    results, _ = regenerate(team, cluster, "typed")
    assert results["typed"]["message"].count("known good") == 2
    assert len(team.entries("typed")) == 2
    team.write("absent", {"w0": "*"}, gpus=["B200"])
    results, told = regenerate(team, cluster, "absent", code=6)
    assert "GPUs (L4)" in told
    assert results["absent"]["code"] == 6


def test_a_machine_without_the_tool(team, cluster, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    bare = Machine(name="c", gpu="T4", env={**team.machine("c"), "PATH": path, "PYTHONPATH": ""})
    cluster.machines.append(bare)
    cluster.start(bare, env={})
    team.write("toolless", {"w0": "*"}, gpus=["T4"])
    _, told = regenerate(team, cluster, "toolless", code=6)
    assert "of that machine cannot import envbuilder" in told
    bare.kill()


def test_a_full_disk_is_told_and_nothing_is_lost(team, cluster, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    mount(store, "size=256k")
    try:
        small = Machine(
            name="d", gpu="A10", env={**team.machine("d"), "ENVBUILDER_CACHE": str(store)}
        )
        cluster.machines.append(small)
        cluster.start(small, env={})
        team.write("full", {"w0": "*"}, gpus=["A10"])
        _, told = regenerate(team, cluster, "full", code=7)
        assert f"full on A10: the disk that holds {store}" in told
        assert team.entries("full") == []
        mount(store, "remount,size=1g")
        regenerate(team, cluster, "full")
        assert [entry.host.gpu for entry in team.entries("full")] == ["A10"]
        small.kill()
    finally:
        subprocess.run(["umount", "--lazy", store], check=True)


def mount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)


def test_a_killed_driver_and_a_killed_machine_lose_nothing(team, cluster):
    names = ["env0", "env1", "typed"]
    for name in names[:2]:
        team.write(name, NINE[name])
    team.write("typed", {"w0": "*"}, gpus=["H100", "L4"])
    before = {name: len(team.entries(name)) for name in names}
    driver = team.start("regenerate", *names, "--cluster", cluster.url)
    end = time.monotonic() + SECONDS
    while not any("-l4-" in each for each in running(cluster)):
        assert time.monotonic() < end, driver.poll()
        time.sleep(0.3)
    driver.kill()
    driver.communicate()
    cluster.machines[1].kill()
    cluster.start(cluster.machines[1], env={})
    results, told = regenerate(team, cluster, *names)
    assert {each["code"] for each in results.values()} == {0}
    assert "found job envbuilder-" in told
    assert re.search(r"job envbuilder-typed-l4-\w+-2", told), "the lost one is submitted again"
    assert len(team.entries("typed")) == before["typed"] + 2
    assert [len(team.entries(name)) - before[name] for name in ("env0", "env1")] == [1, 1]
