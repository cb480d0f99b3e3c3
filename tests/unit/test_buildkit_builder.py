"""Is this builder fit? Asked of a program that answers as several Dockers do."""

import pytest

from envbuilder.engines.buildkit import find_builder
from envbuilder.model.errors import MissingToolError

ANSWERS = """\
#!/bin/sh
[ "$1" != --context ] || {{ [ "$2" = far ] && shift 2 && set -- "$@" far; }} || exit 98
case "$1 $2" in
  "buildx version") {version} ;;
  "buildx inspect") printf '%b' '{inspect}' ;;
  "version --format") [ "$4" = far ] && echo '{far}' || echo '{server}' ;;
  "info --format") echo '{store}' ;;
  *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""
DOCKER = r"Name: default\nDriver: docker\n\nNodes:\nBuildKit version: v0.0.0+unknown\n"
CONTAINER = r"Name: far\nDriver: kubernetes\n\nNodes:\nBuildKit version: v{}\n"
CONTAINERD = '[["driver-type","io.containerd.snapshotter.v1"]]'


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a docker that gives set answers on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def answer(
        *, inspect=DOCKER, server="26.1.5", far="", store=CONTAINERD, version="echo v0.13.1"
    ):
        program = tmp_path / "docker"
        program.write_text(
            ANSWERS.format(inspect=inspect, server=server, far=far, store=store, version=version)
        )
        program.chmod(0o755)

    return answer


def test_docker_without_root_is_elsewhere(docker, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    docker()
    assert find_builder().here
    docker(store=f'{CONTAINERD} ["name=seccomp,profile=builtin","name=rootless"]')
    assert not find_builder().here


def test_dockers_own_builder_works_in_the_hosts_network(docker):
    docker(server="26.1.5+dfsg1")
    found = find_builder()
    assert (found.driver, found.version) == ("docker", "26.1.5+dfsg1")
    assert found.command == ["docker", "buildx", "build", "--network", "host"]


@pytest.mark.parametrize("version", ["0.13.0", "0.23.1", "1.0.0", "0.0.0+unknown"])
def test_a_builder_elsewhere(docker, version):
    docker(inspect=CONTAINER.format(version))
    found = find_builder("far")
    assert (found.driver, found.version) == ("kubernetes", f"v{version}")
    assert found.command == ["docker", "buildx", "build", "--builder", "far"]


@pytest.mark.parametrize("version", ["20.10.24", "25.0.3"])
def test_an_old_docker(docker, version):
    docker(server=version)
    with pytest.raises(MissingToolError, match=f"Docker {version} is too old") as caught:
        find_builder()
    assert "docker buildx create" in caught.value.hint


@pytest.mark.parametrize("name", [None, "far"])
def test_the_engine_in_use_is_asked_and_no_other(docker, name):
    far = DOCKER.replace("default", "far")
    docker(inspect=far, server="20.10.24", far="26.1.5")
    found = find_builder(name)
    assert found.version == "26.1.5"
    assert found.command == ["docker", "--context", "far", "buildx", "build", "--network", "host"]
    assert not found.here
    docker(inspect=far, server="26.1.5", far="25.0.3")
    with pytest.raises(MissingToolError, match=r"Docker 25\.0\.3 is too old"):
        find_builder(name)


def test_an_engine_that_does_not_answer(docker, monkeypatch):
    monkeypatch.setattr("envbuilder.engines.buildkit.builder._WAKING", 0.2)
    docker(inspect="'; exec sleep 60; printf '")
    with pytest.raises(MissingToolError, match="`docker buildx inspect --bootstrap` has not ended"):
        find_builder()


def test_a_socket_that_is_not_this_users(docker):
    docker(version="echo 'permission denied: unix:///var/run/docker.sock' >&2; exit 1")
    with pytest.raises(MissingToolError, match="may not talk to Docker") as caught:
        find_builder()
    assert "group docker" in caught.value.hint


def test_an_old_builder(docker):
    docker(inspect=CONTAINER.format("0.12.5"))
    with pytest.raises(MissingToolError, match=r"v0\.12\.5, which is too old"):
        find_builder("far")


def test_a_builder_of_other_processors(docker):
    nodes = r"Platforms: linux/arm64*, linux/arm/v7\n\nName: far1\nPlatforms: linux/amd64/v2\n"
    docker(inspect=CONTAINER.format("0.13.2") + nodes)
    found = find_builder("far")
    for known in ("linux/arm64", "linux/arm/v7", "linux/arm", "linux/amd64"):
        found.check(known)
    with pytest.raises(
        MissingToolError, match=r"far builds for linux/arm64, .*not for linux/riscv"
    ):
        found.check("linux/riscv64")
    docker(inspect=CONTAINER.format("0.13.2"))
    find_builder("far").check("linux/riscv64")  # nothing said: it will show


def test_a_builder_that_does_not_answer(docker):
    docker(inspect="'; echo 'ERROR: context deadline exceeded' >&2; exit 1; printf '")
    with pytest.raises(MissingToolError, match="the builder does not answer: it is gone, or"):
        find_builder("far")


def test_docker_with_its_older_store(docker):
    docker(store='[["Backing Filesystem","extfs"]]')
    with pytest.raises(MissingToolError, match="older store") as caught:
        find_builder()
    assert "containerd-snapshotter" in caught.value.hint


def test_docker_without_buildx(docker):
    docker(version='echo "docker: unknown command: docker buildx" >&2; exit 1')
    with pytest.raises(MissingToolError, match="no buildx plugin"):
        find_builder()


def test_no_docker(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="docker is not installed") as caught:
        find_builder()
    assert "apt-get install" in caught.value.hint


def test_nobody_answers(docker, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    docker(inspect=r"Name: default\nError: Cannot connect to the Docker daemon\n")
    with pytest.raises(MissingToolError, match=r"no Docker Engine answers at tcp://127\.0\.0\.1:1"):
        find_builder()
