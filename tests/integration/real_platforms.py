"""A Debian base, a source and a smoke for another platform: through qemu, as a user has it.

Opt-in (`make platforms`): it takes root, to tell the kernel of an emulator, and some minutes.
"""

import json
import subprocess
from pathlib import Path

import pytest

from envbuilder.model.pylock import lock_path, read_lock
from envbuilder.runtime.emulation import can_run
from tests.binfmt import emulator
from tests.command import envbuilder
from tests.servers.distribution import registry

pytestmark = [pytest.mark.integration]

AMD64, ARM64 = "linux/amd64", "linux/arm64"
EMULATED = 3600
"""Seconds that a command may take: an emulator on a busy host is slow."""
SPEC = """\
version: 1
name: duo
platform: [linux/amd64, linux/arm64]
python: "3.13"
base: {debian: trixie}
system: {packages: [python3]}
packages:
  markupsafe: "==3.0.2"
  tqdm: "==4.67.1"
  mine: {path: mine/}
smoke: {timeout: 1800}
"""
PROJECT = """\
[build-system]
requires = ["setuptools==80.9.0"]
build-backend = "setuptools.build_meta"

[project]
name = "mine"
version = "1.0"
"""


def run(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run a command and expect its exit status; give what it wrote."""
    environ = {"ENVBUILDER_CACHE": str(folder / "store"), "COLUMNS": "300"}
    done = envbuilder(*arguments, cwd=folder, code=status, timeout=EMULATED, **environ)
    return done.stdout + (done.stderr if status else "")


@pytest.fixture
def folder(tmp_path):
    mine = tmp_path / "lockfiles" / "mine"
    mine.mkdir(parents=True)
    (mine / "pyproject.toml").write_text(PROJECT)
    (mine / "mine.py").write_text("answer = 42\n")
    (tmp_path / "lockfiles" / "duo.yaml").write_text(SPEC)
    return tmp_path


def test_a_debian_base_for_arm64_is_made_smoked_pushed_and_proven(folder):
    if not can_run(ARM64):
        said = run(folder, "build", "duo", status=6)
        assert "duo: making its Debian base runs programs for linux/arm64" in said
        assert "apt-get install qemu-user-static" in said
        assert not (folder / "store").exists(), "before anything was fetched"
    with emulator():
        run(folder, "lock", "duo")
        built = json.loads(run(folder, "build", "duo", "-o", "json", "--progress", "quiet"))
        with registry(folder / "registry") as server:
            ref = f"{server.host}/duo:1"
            run(folder, "push", "duo", ref)
            assert "is what the lock says" in run(folder, "verify", ref, "--lock", "duo")
            wanted = ["--override-arch", "arm64", "inspect", "--config", "--tls-verify=false"]
            told = subprocess.check_output(["skopeo", *wanted, f"docker://{ref}"])
        assert json.loads(told)["architecture"] == "arm64"
    assert built["good"]
    machines = {
        each: part["smoke"]["environment"]["machine"] for each, part in built["platforms"].items()
    }
    assert machines == {AMD64: "x86_64", ARM64: "aarch64"}
    lock = read_lock(lock_path(folder / "lockfiles" / "duo.yaml", ARM64))
    assert {deb.architecture for deb in lock.base.packages} == {"arm64", "all"}
    assert lock.seal.index is not None
    assert str(lock.seal.index) == built["index"]
    assert lock.archives[0].wheel is not None
