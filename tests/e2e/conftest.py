"""A small environment, built once by the command line as a user would, for many tests."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envbuilder.model.pylock import read_lock
from envbuilder.storage.store import Store
from tests.command import envbuilder

SPEC = """\
version: 1
name: small
python: "3.13"
base: {debian: trixie}
system:
  packages: [python3]
packages:
  tqdm: "==4.67.1"
  Six: "==1.17.0"
index: {exclude_newer: 2025-07-01T00:00:00Z}
labels: {org.example.team: tests}
env: {GREETING: "hello, world"}
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with specs, and the command line run in it."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *args, code=0, **env):
        """Run ``envbuilder ARGS``; assert the exit code; return the completed process."""
        return envbuilder(*args, cwd=self.folder, code=code, **{**self.env, **env})

    def json(self, *args, **env):
        """Run ``envbuilder ARGS -o json`` and return what it printed."""
        return json.loads(self.run(*args, "-o", "json", **env).stdout)

    @property
    def spec(self):
        return self.folder / "lockfiles" / "small.yaml"

    @property
    def lock(self):
        return self.folder / "lockfiles" / "pylock.small.toml"

    def copy(self, folder, **env):
        """Give a second checkout with the same spec and lock and, unless said, the same store."""
        target = folder / "lockfiles"
        target.mkdir(parents=True)
        for path in (self.spec, self.lock):
            (target / path.name).write_bytes(path.read_bytes())
        return Checkout(folder, {**self.env, **env})

    def elsewhere(self, folder):
        """Give a second checkout with a store of its own, which holds nothing but the .deb files.

        No mirror need send those again for every test.
        """
        other = self.copy(folder, ENVBUILDER_CACHE=str(folder / "store"))
        mine, theirs = (Store(Path(each.env["ENVBUILDER_CACHE"])) for each in (self, other))
        for deb in read_lock(self.lock).base.packages:
            theirs.adopt(mine.path(deb.sha256), deb.sha256)
        return other


@pytest.fixture(scope="session")
def small(shared, alone, trixie, tmp_path_factory):
    """Lock and build the small environment, smoke included, in a store that has its base.

    It is built once for all workers; each gets a copy that it may change, the store's files linked.
    """
    made, ready = shared / "small", shared / "small.ready"
    with alone("small"):
        if not ready.exists():
            shutil.rmtree(made, ignore_errors=True)  # of a worker that failed
            made.mkdir()
            trixie(made / "store")
            _build_small(made)
            ready.touch()
    folder = tmp_path_factory.mktemp("checkout")
    subprocess.run(["cp", "-a", "--link", made / "store", folder], check=True)
    rest = [path for path in made.iterdir() if path.name != "store"]
    subprocess.run(["cp", "-a", *rest, folder], check=True)
    return Checkout(folder, {"ENVBUILDER_CACHE": str(folder / "store")})


def _build_small(folder):
    (folder / "lockfiles").mkdir(parents=True)
    (folder / "lockfiles" / "small.yaml").write_text(SPEC)
    checkout = Checkout(folder, {"ENVBUILDER_CACHE": str(folder / "store")})
    reports = ("--report", "report.json", "--report", "report.html")
    checkout.run("build", "small", "--output-image", "oci:layout", *reports)


@pytest.fixture
def small_in_docker(alone):
    """Give the name that a loaded image of ``small`` has in Docker; one test at a time has it."""
    name = "small:latest"
    with alone("docker"):
        yield name
        subprocess.run(["docker", "rmi", "--force", name], check=True, capture_output=True)
