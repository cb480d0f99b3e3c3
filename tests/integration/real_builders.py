"""BuildKit's own daemon as the builder: behind TLS, and in a container of Docker's.

Opt-in (`make builders`): the daemon is built from Debian's sources first (``tests/buildkit.sh``).
"""

import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from envbuilder.engines.buildkit import find_builder
from envbuilder.model.errors import BuildError, MissingToolError
from tests.e2e.conftest import Checkout
from tests.integration.docker_light import Light, Recording, make_light
from tests.integration.other_engines import docker, running, wait_for
from tests.servers.certificates import Pair, authority, server_certificate
from tests.unit import locks

pytestmark = [pytest.mark.integration, pytest.mark.docker]

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / ".buildkit"
SPEC = """\
version: 1
name: small
python: "3.13"
base: {debian: trixie}
system: {packages: [python3]}
packages: {six: "==1.17.0"}
steps: {after_python: ["python3 -c 'import six'"]}
"""


@pytest.fixture(scope="module", autouse=True)
def _built():
    subprocess.run([ROOT / "tests/buildkit.sh", PROGRAMS], check=True)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    return make_light(tmp_path_factory.mktemp("light"))


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    """Give docker a configuration of its own, with what it has now."""
    folder = tmp_path / "config"
    shutil.copytree(os.environ["DOCKER_CONFIG"], folder, symlinks=True)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A running daemon: where it listens, who vouches for it, and its process."""

    url: str
    root: Pair
    folder: Path
    process: subprocess.Popen[bytes]

    def builder(self, name: str, trusted: Pair | None = None) -> None:
        """Tell buildx of it, which trusts its authority, or another."""
        ca, _ = (trusted or self.root).write(self.folder, f"{name}-ca")
        certificate, key = server_certificate(self.root).write(self.folder, f"{name}-client")
        options = f"cacert={ca},cert={certificate},key={key}"
        docker("buildx", "create", "--name", name, "--driver", "remote",
               "--driver-opt", options, self.url)  # fmt: skip


@contextmanager
def daemon(folder: Path, *flags: str) -> Iterator[Daemon]:
    """Run buildkitd on loopback, in namespaces of its own; it wants certificates by its root."""
    folder.mkdir()
    root = authority()
    ca, _ = root.write(folder, "ca")
    certificate, key = server_certificate(root).write(folder, "server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"tcp://127.0.0.1:{port}"
    runc = shutil.which("runc")
    assert runc
    command = [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        str(PROGRAMS / "buildkitd"), f"--root={folder}/data", f"--addr={url}",
        f"--config={folder}/none", f"--tlscacert={ca}", f"--tlscert={certificate}",
        f"--tlskey={key}", "--containerd-worker=false", f"--oci-worker-binary={runc}", *flags,
    ]  # fmt: skip
    with running(command, folder / "log") as process:
        wait_for(lambda: "running server" in (folder / "log").read_text(), folder / "log")
        yield Daemon(url=url, root=root, folder=folder, process=process)


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("far") / "daemon") as running_one:
        yield running_one


def elsewhere(light, builder, folder):
    return Light(folder=folder, contexts=light.contexts, builder=builder)


def lock(step="mkdir /data; echo hi >/data/x", **more):
    return locks.lock({}, steps={"before_python": [step]}, **more)


def test_it_builds_what_the_engine_here_builds_and_remembers_it(light, far, tmp_path, monkeypatch):
    far.builder("far")
    monkeypatch.setenv("TOKEN", "of the test")
    step = 'test "$(cat /run/secrets/token)" = "of the test"; mkdir /data; echo hi >/data/x'
    wanted = lock(step, build={"secrets": {"token": {"env": "TOKEN"}}})
    here = light.build(wanted, "here", fresh=True)
    assert find_builder("far").driver == "remote"
    there, first, second = elsewhere(light, "far", tmp_path), Recording(), Recording()
    assert there.build(wanted, fresh=True, progress=first).digest == here.digest
    assert first.runs
    assert there.build(wanted, "again", progress=second).digest == here.digest
    assert not second.runs


def test_the_command_builds_there_what_it_builds_here(far, tmp_path, trixie):
    far.builder("far")
    trixie(tmp_path / "store")
    checkout = Checkout(tmp_path, {"ENVBUILDER_CACHE": str(tmp_path / "store")})
    checkout.spec.parent.mkdir()
    checkout.spec.write_text(SPEC)
    checkout.run("build", "small", "--engine", "docker", "--builder", "far")
    sealed = checkout.lock.read_text("utf-8")
    checkout.run("build", "small", "--engine", "docker", "--no-smoke", "--locked")
    assert checkout.lock.read_text("utf-8") == sealed


def test_it_is_not_spoken_to_where_it_shows_another_certificate(far):
    far.builder("imposter", trusted=authority())
    with pytest.raises(MissingToolError, match=r"does not answer: .* certificates"):
        find_builder("imposter")


def test_it_says_what_it_builds_for(far):
    far.builder("far")
    found = find_builder("far")
    assert "linux/amd64" in found.platforms
    others = {"linux/riscv64", "linux/s390x", "linux/mips64le"} - {*found.platforms}
    with pytest.raises(MissingToolError, match=r"far builds for linux/amd64, .*, not for linux/"):
        found.check(others.pop())


def test_a_daemon_that_dies_while_it_builds(light, tmp_path):
    with daemon(tmp_path / "dying") as dying:
        dying.builder("dying")

        class Killing(Recording):
            def step(self, phase, title, **more):
                if " RUN " in title:
                    threading.Timer(1, dying.process.kill).start()
                return super().step(phase, title, **more)

        there = elsewhere(light, "dying", tmp_path)
        with pytest.raises(BuildError, match="the builder was lost while it built"):
            there.build(lock("while true; do echo on; done"), progress=Killing())
    assert not (tmp_path / "image").exists()


def test_kubectl_reads_the_manifest_of_a_daemon_in_a_cluster(tmp_path):
    kubectl = PROGRAMS / "kubectl"
    subprocess.run([ROOT / "tests/debian_tool.sh", "trixie", "kubectl", PROGRAMS], check=True)
    text = (ROOT / "docs/examples/kubernetes/buildkitd.yaml").read_text("utf-8")
    workload, _ = text.split("\n---\n")

    def read(text):  # by kubectl's own types; it asks no cluster
        (tmp_path / "workload.yaml").write_text(text)
        command = [kubectl, "set", "env", "--local", "--dry-run=client", "--output=name"]
        return subprocess.run(
            [*command, f"--filename={tmp_path}/workload.yaml", "A=b"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = read(workload)
    assert (done.returncode, done.stdout) == (0, "statefulset.apps/buildkitd\n"), done.stderr
    assert read(workload.replace("replicas: 1", "replicas: a")).returncode != 0


@pytest.fixture
def image(tmp_path):
    """Make what the driver starts: an image with BuildKit's programs and runc."""
    folder = tmp_path / "image"
    runc = shutil.which("runc")
    listing = subprocess.run(["ldd", runc], capture_output=True, text=True, check=True).stdout
    wanted = [PROGRAMS / "buildkitd", PROGRAMS / "buildctl", Path(runc)]
    for path in wanted:
        (folder / "usr/bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "usr/bin" / path.name)
    for library in re.findall(r"(/\S+) \(0x", listing):
        (folder / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, folder / library.lstrip("/"))
    for name in ("tmp", "etc", "run", "proc", "sys", "dev"):
        (folder / name).mkdir()
    subprocess.run(["tar", "-C", folder, "-cf", tmp_path / "image.tar", "."], check=True)
    entry = 'ENTRYPOINT ["buildkitd"]'
    docker("import", "--change", entry, str(tmp_path / "image.tar"), "buildkit-of-tests:1")
    yield "buildkit-of-tests:1"
    docker("rmi", "--force", "buildkit-of-tests:1")


def test_a_builder_in_a_container(light, image, tmp_path):
    here = light.build(lock(), "here", fresh=True)
    # The engine of the tests has no bridge.
    options = f"image={image},network=host"
    docker("buildx", "create", "--name", "inside", "--driver", "docker-container",
           "--driver-opt", options)  # fmt: skip
    try:
        assert find_builder("inside").driver == "docker-container"
        watched = Recording()
        there = elsewhere(light, "inside", tmp_path).build(lock(), progress=watched)
        assert there.digest == here.digest
        assert watched.runs
    finally:
        docker("buildx", "rm", "--force", "inside")
