"""Builders that are not Docker's own, and engines that fail (`make engine`)."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from envbuilder.engines.buildkit import find_builder
from envbuilder.engines.render import render, write
from envbuilder.model.errors import BuildError, MissingToolError
from envbuilder.storage.store import Store
from tests.contexts import open_here
from tests.integration.docker_light import Light, Recording, make_light
from tests.integration.other_engines import (
    buildkit_port,
    docker,
    docker_without_plugins,
    prune_full_disk,
    small_engine,
    ssh_to_engine,
    tls_port,
)
from tests.servers.certificates import authority, server_certificate
from tests.unit import locks

pytestmark = [pytest.mark.integration, pytest.mark.docker]


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    return make_light(tmp_path_factory.mktemp("light"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with small_engine(tmp_path_factory.mktemp("small") / "engine", disk="100m") as url:
        yield url


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    """Give docker a configuration of its own, with what it has now."""
    folder = tmp_path / "config"
    shutil.copytree(os.environ["DOCKER_CONFIG"], folder, symlinks=True)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


def lock(step="mkdir /data; echo hi >/data/x"):
    return locks.lock({}, steps={"before_python": [step]})


def elsewhere(light, builder, folder):
    return Light(folder=folder, contexts=light.contexts, builder=builder)


def test_an_engine_behind_ssh(light, tmp_path, monkeypatch):
    with monkeypatch.context() as away, ssh_to_engine(tmp_path / "ssh") as url:
        away.setenv("DOCKER_HOST", "unix:///nonexistent")
        away.setenv("PATH", f"{tmp_path}/ssh/bin:{os.environ['PATH']}")
        docker("context", "create", "far", "--docker", f"host={url}")
        assert find_builder("far").driver == "docker"
        watched = Recording()
        there = elsewhere(light, "far", tmp_path).build(lock(), fresh=True, progress=watched)
        assert watched.runs  # it is the first to build this: else BuildKit may share what it has
        with pytest.raises(MissingToolError, match="no Docker Engine answers"):
            find_builder()
    assert light.build(lock(), "here", fresh=True).digest == there.digest


def test_a_buildkit_behind_a_port(light, small, tmp_path, monkeypatch):
    here = light.build(lock(), "here", fresh=True)
    with buildkit_port(small) as url:
        monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
        docker("buildx", "create", "--name", "away", "--driver", "remote", url)
        assert find_builder("away").driver == "remote"
        there = elsewhere(light, "away", tmp_path).build(lock())
        assert there.digest == here.digest
        monkeypatch.setenv("BUILDX_BUILDER", "away")  # the way of buildx itself
        assert find_builder().driver == "remote"


def remote(name, url, ca, certificate, key):
    options = f"cacert={ca},cert={certificate},key={key}"
    docker("buildx", "create", "--name", name, "--driver", "remote", "--driver-opt", options, url)


def test_a_buildkit_behind_tls(light, small, tmp_path):
    here = light.build(lock(), "here", fresh=True)
    root, stranger = authority(), authority()
    ca, _ = root.write(tmp_path, "ca")
    ours = server_certificate(root).write(tmp_path, "client")
    with buildkit_port(small) as plain, tls_port(plain, root, tmp_path) as url:
        remote("away", url, ca, *ours)
        assert find_builder("away").driver == "remote"
        assert elsewhere(light, "away", tmp_path).build(lock()).digest == here.digest
        remote("not-trusted", url, stranger.write(tmp_path, "stranger")[0], *ours)
        with pytest.raises(MissingToolError, match=r"does not answer: .* certificates"):
            find_builder("not-trusted")
    with pytest.raises(MissingToolError, match="the builder does not answer: it is gone"):
        find_builder("away")


def test_bake_builds_the_rendered_file(light, small, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", small)  # its builds need no network of the host's
    monkeypatch.setenv("TOKEN", "from the environment")
    monkeypatch.setenv("SSH_AUTH_SOCK", f"{tmp_path}/agent")
    (tmp_path / "key,1").write_text("from a file")
    secrets = {"token": {"env": "TOKEN"}, "key": {"file": f"{tmp_path}/key,1"}}
    step = 'test "$(cat /run/secrets/token /run/secrets/key)" = "from the environmentfrom a file"'
    wanted = locks.lock(
        {}, build={"secrets": secrets, "ssh": True}, steps={"before_python": [step]}
    )
    folder = tmp_path / "docker"
    write(render(wanted), folder)
    ours = {"contexts": dict(light.contexts)}  # the test's, beside the spec's
    (folder / "docker-bake.override.json").write_text(json.dumps({"target": {"runtime": ours}}))
    bake = ["docker", "buildx", "bake"]
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(f"{tmp_path}/agent")
        agent.listen()
        done = subprocess.run(
            [*bake, "--print", "system", "wheels", "runtime"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for target in json.loads(done.stdout)["target"].values():
            assert target["secret"] == [f'id=key,"src={tmp_path}/key,1"', "id=token,env=TOKEN"]
            assert target["ssh"] == ["default"]
        done = subprocess.run(bake, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with open_here(f"{folder}/x.tar", Store(tmp_path / "store")) as baked:
            assert baked.image.digest == elsewhere(light, None, tmp_path).build(wanted).digest


def test_a_full_disk_in_the_engine(light, small, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", small)
    there = elsewhere(light, None, tmp_path)
    with pytest.raises(BuildError, match=r"(?i)no space left on device") as caught:
        there.build(lock("head -c 200000000 /dev/zero >/big"), "full")
    assert "docker buildx prune" in caught.value.hint
    assert caught.value.exit_code == 7
    assert not [*tmp_path.glob(".full.*"), *tmp_path.glob("full")]
    prune_full_disk()
    assert there.build(lock("echo >/small"), "small").layers


def test_a_full_disk_here(light, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    code = (
        "from pathlib import Path\n"
        "from envbuilder.model.errors import DiskFullError\n"
        "from tests.integration.docker_light import Light\n"
        "from tests.unit import locks\n"
        f"light = Light(folder=Path({str(folder)!r}), contexts={light.contexts!r})\n"
        "try:\n"
        "    light.build(locks.lock({}), 'full')\n"
        "except DiskFullError as error:\n"
        "    print(error.hint)\n"
    )
    script = f'mount -t tmpfs -o size=2m none {folder} && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, code],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "set ENVBUILDER_CACHE" in done.stdout, done.stderr


def test_an_engine_with_the_older_store(tmp_path, monkeypatch):
    with small_engine(tmp_path / "old", disk="50m", containerd_store=False) as url:
        monkeypatch.setenv("DOCKER_HOST", url)
        with pytest.raises(MissingToolError, match="older store"):
            find_builder()


def test_a_docker_without_buildx(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{docker_without_plugins(tmp_path)}:{os.environ['PATH']}")
    with pytest.raises(MissingToolError, match="no buildx plugin"):
        find_builder()
