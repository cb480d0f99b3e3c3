"""What doctor makes of engines that answer in unusual ways."""

import platform
from functools import partial

import pytest

from envbuilder.storage.store import Store
from envbuilder.workflow import doctor
from tests.servers.engine import ANSWERS, engine

INFO = {
    "ServerVersion": "library-import",
    "Name": platform.node(),
    "DockerRootDir": "/",
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
    "Runtimes": {"runc": {}, "nvidia": {}},
}


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Ask a check about an engine that says this of itself."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def answer(check, info):
        answers = ANSWERS if info is None else ANSWERS | {"/info": info}
        with engine(answers) as host:
            monkeypatch.setenv("DOCKER_HOST", host)
            return check(Store(tmp_path))

    return answer


def test_an_engine_says_what_it_is_and_where_its_disk_is(ask, monkeypatch):
    found = ask(doctor.docker_engine, INFO)
    assert found.detail.startswith("library-import, rootless, ")
    assert found.detail.endswith(" GB free for images in /")
    for elsewhere in ({"Name": "another-host"}, {"DockerRootDir": "/nonexistent"}):
        found = ask(doctor.docker_engine, INFO | elsewhere)
        assert (found.status, found.detail) == ("ok", "library-import, rootless")
    monkeypatch.setattr(doctor, "_ROOM", 1 << 60)
    found = ask(doctor.docker_engine, INFO)
    assert (found.status, found.advice) == ("warn", "docker system prune")


def test_an_engine_that_hangs_up_is_a_finding(ask):
    found = ask(doctor.docker_engine, None)
    assert found.status == "warn"
    assert "went away" in found.detail
    assert found.advice


def test_gpus_that_only_docker_can_give(ask, monkeypatch):
    monkeypatch.setattr(doctor.cdi, "nvidia_devices", partial(doctor.cdi.nvidia_devices, ()))
    found = ask(doctor.gpu_devices, INFO)
    assert found.status == "warn"
    assert "--runtime docker" in found.detail
    assert "nvidia-ctk" in found.advice
    for info in (INFO | {"Runtimes": {"runc": {}}}, None):
        assert "no CDI file" in ask(doctor.gpu_devices, info).detail


def test_the_builder_is_judged_as_a_build_judges_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program = tmp_path / "docker"

    def answer(version):
        inspected = f"Name: far\\nDriver: remote\\nBuildKit version: {version}\\n"
        program.write_text(f"#!/bin/sh\nprintf '%b' '{inspected}'\n")
        program.chmod(0o755)
        return doctor.builder()

    assert answer("v0.23.0") == doctor.Diagnosis(
        name="BuildKit", status="ok", detail="v0.23.0, driver remote"
    )
    found = answer("v0.12.5")
    assert found.status == "warn"
    assert "too old" in found.detail
    assert found.advice
