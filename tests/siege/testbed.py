"""A small environment and all that it is made of, on loopback: registry, index and git server.

A build of it takes half a second, a build with a smoke two.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from envbuilder.model.progress import Silent
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from tests.integration.python_image import PYTHON, standard_library
from tests.integration.tiny_image import tiny_image
from tests.servers.distribution import registry
from tests.servers.git import git_http
from tests.servers.git_repositories import Origin
from tests.servers.packages import Packages
from tests.servers.scripted import scripted
from tests.siege.door import Door, door
from tests.wheels import Recipe, write_wheel

ROOT = Path(__file__).parents[2]
NAME = "siege"
DAYS = ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")

SPEC = """\
version: 1
name: siege
python: "{version}"
base: {{image: "{host}/base:1", python: {python}}}
packages:
  alpha: "==1.0"
  beta: "*"
  gamma: {{git: "{git}/gamma/.git", branch: main}}
smoke: {{gpu: never}}
"""
BACKEND = """\
import zipfile
META = "Metadata-Version: 2.1\\nName: gamma\\nVersion: 1\\n"
WHEEL = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
def build_wheel(folder, settings=None, metadata=None):
    with zipfile.ZipFile(f"{folder}/gamma-1-py3-none-any.whl", "w") as out:
        out.writestr("gamma.py", open("gamma.py").read())
        out.writestr("gamma-1.dist-info/METADATA", META)
        out.writestr("gamma-1.dist-info/WHEEL", WHEEL)
        out.writestr("gamma-1.dist-info/RECORD", "")
    return "gamma-1-py3-none-any.whl"
"""
PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "gamma"
version = "1"
"""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A folder of specs with a store and a place for temporary files, and the command in it."""

    folder: Path
    index: str
    """The URL of the package index."""

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def lock(self) -> Path:
        return self.folder / "lockfiles" / f"pylock.{NAME}.toml"

    @property
    def spec(self) -> Path:
        return self.folder / "lockfiles" / f"{NAME}.yaml"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "envbuilder", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables of a process: this checkout's store, and nobody's settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_", "GIT_"))}
        own = {
            "ENVBUILDER_CACHE": str(self.store),
            "TMPDIR": str(self.scratch),
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(ROOT),
            "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", "/nowhere"),
            "UV_DEFAULT_INDEX": self.index,
            "UV_CACHE_DIR": str(self.folder / "uv"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "NO_PROXY": "*",
        }
        return {**kept, **own, **more}

    def copy(self, folder: Path) -> Checkout:
        """Return a second checkout like this one, with a store of its own."""
        subprocess.run(["cp", "-a", self.folder, folder], check=True)
        return Checkout(folder=folder, index=self.index)


@dataclass(frozen=True, kw_only=True)
class Testbed:
    """The servers that run, and a checkout that was built and smoked, to be copied."""

    __test__ = False  # no test, whatever pytest makes of the name

    folder: Path
    doors: tuple[Door, ...]
    """Before the registry, the package index and the git server."""
    origin: Origin
    built: Checkout
    lengths: dict[tuple[str, ...], float] = field(default_factory=dict)
    """Seconds that a command took, undisturbed."""

    @property
    def host(self) -> str:
        """The registry's, HOST:PORT."""
        return self.doors[0].host

    @contextmanager
    def checkout(self) -> Iterator[Checkout]:
        """Lend a copy of the checkout for one attack."""
        folder = Path(tempfile.mkdtemp(prefix="checkout-", dir=self.folder))
        folder.rmdir()
        try:
            yield self.built.copy(folder)
        finally:
            shutil.rmtree(folder)


@contextmanager
def open_testbed() -> Iterator[Testbed]:
    """Start the servers, and build the environment once."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="siege-", dir="/var/tmp"))
        folder = Path(name)
        folder.chmod(0o755)  # another user comes by
        origin = Origin.create(folder / "git" / "gamma")
        origin.commit({"gamma.py": "x = 1\n", "backend.py": BACKEND, "pyproject.toml": PROJECT})
        packages = Packages(wheels={}, uploaded={})
        publish(packages, folder)
        honest = (
            stack.enter_context(registry(folder / "registry")).host,
            stack.enter_context(scripted(packages.respond)).host,
            stack.enter_context(git_http(folder / "git")).url.removeprefix("http://"),
        )
        push_base(folder, honest[0])
        doors = tuple(stack.enter_context(door(host, Random(0))) for host in honest)
        built = Checkout(folder=folder / "built", index=f"http://{doors[1].host}/simple")
        build(built, doors[0].host, f"http://{doors[2].host}")
        yield Testbed(folder=folder, doors=doors, origin=origin, built=built)


def push_base(folder: Path, host: str) -> None:
    """Push an image with this machine's Python to the registry, as ``base:1``."""
    store = Store(folder / "base-store")
    image = tiny_image(store, layers=[standard_library()])
    layout = export(image, store, f"oci:{folder / 'base'}", name="base", progress=Silent())
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}",
         f"docker://{host}/base:1"], check=True,
    )  # fmt: skip


def publish(packages: Packages, folder: Path) -> None:
    """Put three wheels into the index: two versions of one, and a package that needs it."""
    recipes = (
        Recipe(name="alpha", version="1.0", files={"alpha/__init__.py": b"v = 1\n"}),
        Recipe(name="alpha", version="2.0", files={"alpha/__init__.py": b"v = 2\n"}),
        Recipe(
            name="beta", version="1.0", requires=("alpha",),
            entry_points="[console_scripts]\nb = beta:m\n",
            files={"beta.py": b"def m(): pass\n", "beta-1.0.data/scripts/s.py": b"#!python\n"},
        ),
    )  # fmt: skip
    for recipe in recipes:
        path = write_wheel(folder, recipe)
        packages.wheels[path.name] = path.read_bytes()
        packages.uploaded[path.name] = DAYS[0]


def build(checkout: Checkout, host: str, git: str) -> None:
    """Write the spec, and lock, build and smoke it, twice: with an older alpha, and a newer."""
    for folder in (checkout.spec.parent, checkout.scratch, checkout.folder / "home"):
        folder.mkdir(parents=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    checkout.spec.write_text(SPEC.format(version=version, host=host, git=git, python=PYTHON))
    for arguments in (
        ("keys", "new", "key"),
        ("build", NAME),
        ("bump", NAME, "alpha==2.0"),
        ("push", NAME, f"{host}/pushed:1", "--key", "key.key"),
    ):
        done = subprocess.run(
            checkout.command(*arguments), cwd=checkout.folder, env=checkout.environment(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
