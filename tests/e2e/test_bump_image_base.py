"""Bumps of an image base with packages of its own: a real registry, apt archive and BuildKit."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from envbuilder.model.image import Image, compose
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import read_lock
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.transfer import push
from envbuilder.storage.store import Store
from tests.e2e.conftest import Checkout
from tests.servers.debian import Deb, Mirror, debian_mirror
from tests.servers.distribution import registry
from tests.servers.git_repositories import Origin
from tests.servers.samples import layer_of

pytestmark = [pytest.mark.integration, pytest.mark.docker]

TOOL = Deb(name="tool", fields={"Depends": "tool-data"}, files={"usr/share/tool": "one"})
DATA = Deb(name="tool-data")
BASE = """\
version: 1
name: base
python: "3.13"
base: {debian: trixie}
system: {packages: [apt, python3]}
packages: {six: "==1.17.0"}
"""
SPEC = """\
version: 1
name: onimage
python: "3.13"
base: {image: BASE}
system: {packages: [tool]}
packages: {tqdm: "==4.67.1"}
"""


SPLIT = """\
version: 1
name: split
python: "3.13"
base: {image: BASE}
build: {image: BASE, system: {packages: [tool]}}
packages: {reader: {git: ORIGIN, branch: main}}
index: {exclude_newer: 2025-07-01T00:00:00Z}
"""
READER = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
""",
    "setup.py": """\
import os, shutil
from setuptools import setup
from setuptools.command.build_py import build_py
class Copied(build_py):
    def run(self):
        shutil.copy("/usr/share/tool", "reader/tool.txt")
        super().run()
version = "1+tool" if os.path.exists("/usr/share/tool") else "1"
setup(name="reader", version=version, packages=["reader"], package_data={"reader": ["*.txt"]},
      cmdclass={"build_py": Copied})
""",
    "reader/__init__.py": "",
}


@dataclass(frozen=True)
class Place:
    """A checkout whose base lies in a registry, and the archive that the base installs from."""

    checkout: Checkout
    mirror: Mirror
    repository: str
    layers: tuple

    @property
    def store(self) -> Store:
        return Store(Path(self.checkout.env["ENVBUILDER_CACHE"]))

    def push_base(self, tag: str, note: bytes) -> None:
        sources = f"deb [trusted=yes] {self.mirror.uri} trixie main\n".encode()
        files = {"etc/apt/sources.list": sources, "etc/note": note}
        image: Image = compose((*self.layers, layer_of(self.store, files)), platform="linux/amd64")
        ref = ImageRef.parse(f"{self.repository}:{tag}")
        with Client.from_environment() as client:
            push(client, image, self.store, ref, Silent())

    def files(self) -> dict[str, bytes]:
        folder = self.checkout.folder / "lockfiles"
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def locked(self) -> tuple[str, ...]:
        return read_lock(self.checkout.folder / "lockfiles" / "pylock.onimage.toml").base.packages


@pytest.fixture(scope="module")
def place(small, tmp_path_factory):
    checkout = small.copy(tmp_path_factory.mktemp("image"))
    folder = checkout.folder / "lockfiles"
    (folder / "base.yaml").write_text(BASE)
    checkout.run("build", "base", "--no-smoke")
    sealed = read_lock(folder / "pylock.base.toml").seal.layers
    layers = tuple(each for each in sealed if each.kind is LayerKind.SYSTEM)
    with (
        registry(tmp_path_factory.mktemp("registry")) as server,
        debian_mirror(tmp_path_factory.mktemp("archive")) as mirror,
    ):
        mirror.publish("trixie", [TOOL, DATA])
        made = Place(checkout, mirror, f"{server.host}/base", layers)
        made.push_base("1", b"one")
        (folder / "onimage.yaml").write_text(SPEC.replace("BASE", f"{made.repository}:1"))
        checkout.run("build", "onimage")
        yield made


def test_system_and_base_are_pinned_anew_and_nothing_is_without_an_engine(place):
    run, json_of = place.checkout.run, place.checkout.json
    assert place.locked() == ("tool-data=1.0", "tool=1.0")
    assert json_of("outdated", "onimage", "--min-age", "10000") == []

    place.mirror.publish("trixie", [replace(TOOL, version="1.1"), DATA])
    (newer,) = json_of("outdated", "onimage", "--min-age", "10000")
    assert (newer["what"], newer["name"], newer["newest"]) == ("deb", "tool", "1.1")

    before = place.files()
    nowhere = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    refused = run("bump", "onimage", "system", code=6, **nowhere)
    assert "no Docker Engine answers" in refused.stderr
    told = run("outdated", "onimage", "--min-age", "10000", **nowhere)
    assert "cannot ask the base for newer packages" in told.stderr
    assert place.files() == before

    done = json_of("bump", "onimage", "system")
    assert done["kept"]
    assert [(each["name"], each["why"]) for each in done["changes"]] == [("tool", "asked")]
    assert [layer["title"] for layer in done["layers"]] == ["system packages"]
    assert place.locked() == ("tool-data=1.0", "tool=1.1")

    place.push_base("1", b"one, anew")
    place.push_base("2", b"two")
    (newer,) = json_of("outdated", "onimage", "--min-age", "10000")
    assert (newer["what"], newer["pin"]) == ("base", "system")
    done = json_of("bump", "onimage", f"base={place.repository}:2")
    assert done["kept"]
    assert [(each["kind"], each["why"]) for each in done["changes"]] == [("base", "asked")]
    assert f"image: {place.repository}:2}}" in place.files()["onimage.yaml"].decode()
    assert place.locked() == ("tool-data=1.0", "tool=1.1")


def test_what_the_image_to_compile_in_lacks_is_laid_on_it_and_not_shipped(place, tmp_path):
    """Both images are the bare base; only the builder gets the package that the build reads."""
    origin = Origin.create(tmp_path / "reader")
    origin.commit(READER)
    folder, run = place.checkout.folder / "lockfiles", place.checkout.run
    spec = SPLIT.replace("BASE", f"{place.repository}:1").replace("ORIGIN", str(origin.path))
    (folder / "split.yaml").write_text(spec)
    run("lock", "split")
    locked = read_lock(folder / "pylock.split.toml")
    assert {each.partition("=")[0] for each in locked.builder.packages} == {"tool", "tool-data"}
    assert locked.base.packages is None
    assert locked.sources[0].version == "1+tool"  # asked where it is built, packages included
    run("build", "split")
    sealed = read_lock(folder / "pylock.split.toml")
    assert "system packages" not in {layer.title for layer in sealed.seal.layers}
    rendered = tmp_path / "rendered"
    run("render", "split", "-o", str(rendered))
    text = (rendered / "Dockerfile").read_text()
    assert text.index("AS builder") < text.index("tool=") < text.index("AS source-reader")
