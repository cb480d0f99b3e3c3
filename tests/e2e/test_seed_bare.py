"""The seed's stack on images as their makers publish them: with neither Python nor git inside.

The `devel` image gets Python and git to compile with, the `runtime` one gets Python, each from its
own package manager (real Debian mirrors), and both engines make the same wheels and the same image.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from dataclasses import dataclass, replace

import pytest

from envbuilder.engines.source_wheels import with_wheels
from envbuilder.layers.files import Content, files_layer
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.image import Layer, compose
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import read_lock
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.transfer import push
from envbuilder.resolve.debian.archives import debian_archives
from envbuilder.resolve.debian.packages import lock_base
from envbuilder.resolve.debian.system_layers import system_layers
from envbuilder.storage.store import Store
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.e2e.conftest import Checkout
from tests.integration.test_docker_same_tree import tree
from tests.integration.test_sources_further import CMAKE
from tests.servers import seed
from tests.servers.distribution import registry
from tests.servers.git import git_http
from tests.servers.git_repositories import Origin

pytestmark = [pytest.mark.integration, pytest.mark.docker]

SPEC = """\
version: 1
name: bare
python: "3.13"
base: {{image: {registry}/cuda:12.4.1-runtime}}
system: {{packages: [python3]}}
build: {{image: {registry}/cuda:12.4.1-devel, system: {{packages: [python3, git]}}}}
packages:
  torch: {{path: {torch}}}
  numpy: {{path: {numpy}}}
  pillow: {{path: {pillow}}}
  transformers: {{git: "{git}/transformers/.git", tag: v4.51.3-Qwen2.5-Omni-preview}}
  fetchy:
    git: "{git}/fetchy/.git"
    branch: main
    build:
      sources: {{kernels: {{git: "{git}/kernels/.git", branch: main, fetchcontent: kernels}}}}
  vllm:
    git: "{git}/vllm/.git"
    branch: main
    build:
      sources: {{cutlass: {{git: "{git}/cutlass/.git", branch: main}}}}
      env: {{VLLM_CUTLASS_SRC_DIR: "{{sources.cutlass}}"}}
index: {{exclude_newer: 2025-06-29T00:00:00Z}}
"""
ASKS_GIT = seed.VLLM["about.py"].replace(
    "    kernel =",
    '    assert b"git version" in subprocess.check_output(["git", "--version"])\n    kernel =',
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
BROUGHT = ("usr/bin/python3.13", "usr/bin/git", "usr/local/cuda/bin/nvcc")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A checkout with the spec and its lock, and a store."""

    checkout: Checkout
    store: Store
    lock: Lock

    def made(self, engine: str) -> tuple[Lock, dict[str, tuple[object, ...]]]:
        """Build wheels and image with ``engine``, the wheels anew; give the image's files."""
        shutil.rmtree(self.store.root / "records" / "built-wheel", ignore_errors=True)
        work = context(self.store)
        built = with_wheels(work, self.lock, engine=engine)
        return built, tree(self.store, make_image(work, built, engine=engine))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    store, lockfiles = Store(folder / "store"), folder / "lockfiles"
    lockfiles.mkdir()
    fork, _ = seed.repositories(folder / "served", between=0)
    fork.commit({"about.py": ASKS_GIT})
    Origin.create(folder / "served" / "fetchy").commit(CMAKE)
    Origin.create(folder / "served" / "kernels").commit({"kernels.txt": "1", "CMakeLists.txt": ""})
    checkout = Checkout(folder, {"ENVBUILDER_CACHE": str(store.root)})
    with registry(folder / "registry") as images, git_http(folder / "served") as server:
        _push_images(store, images.host)
        names = seed.wheels(lockfiles)
        spec = SPEC.format(registry=images.host, git=server.url, **names)
        (lockfiles / "bare.yaml").write_text(spec)
        told = checkout.run("lock", "bare").stderr
        assert "/cuda:12.4.1-devel: it may depend on where it is asked (nvcc" in told
        yield Place(checkout=checkout, store=store, lock=read_lock(lockfiles / "pylock.bare.toml"))


def _push_images(store: Store, host: str) -> None:
    """Publish a small Debian as ``runtime``, and with a toolkit on it as ``devel``."""
    work = context(store)
    packages = ["apt", "ca-certificates", "debian-archive-keyring"]
    base = lock_base(work, suite="trixie", packages=packages, architecture="amd64")
    layers = system_layers(work, base, architecture="amd64")
    files = {"/etc/apt/sources.list": Content(data=_mirrors().encode())}
    nvcc = {"/usr/local/cuda/bin/nvcc": Content(data=seed.NVCC.encode(), mode=0o755)}
    runtime = (*layers, files_layer(store, files, title="mirrors"))
    devel = (*runtime, files_layer(store, nvcc, title="toolkit"))
    path = "PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with Client.from_environment() as client:
        for name, stack in (("runtime", runtime), ("devel", devel)):
            assert brought(store, stack) == {"runtime": [], "devel": [BROUGHT[2]]}[name]
            image = compose(stack, platform="linux/amd64", settings={"Env": [path]})
            store.add(image.config)
            push(client, image, store, ImageRef.parse(f"{host}/cuda:12.4.1-{name}"), Silent())


def _mirrors() -> str:
    """Name this machine's Debian mirrors as lines of sources.list."""
    return "".join(
        f"deb [signed-by={KEYRING}] {archive.uri} {suite} {' '.join(archive.components)}\n"
        for archive in debian_archives("trixie")
        for suite in archive.suites
    )


def brought(store: Store, layers: tuple[Layer, ...]) -> list[str]:
    """Return which of what compiling needs the ``layers`` hold."""
    found = tree(store, compose(layers, platform="linux/amd64"))
    return [path for path in BROUGHT if path in found]


def test_both_images_get_what_they_lack_locked_by_version(place):
    base, builder = place.lock.base, place.lock.builder
    assert isinstance(base, ImageBase)
    assert builder is not None
    shipped, compiling = (
        {pin.partition("=")[0] for pin in image.packages or ()} for image in (base, builder)
    )
    assert "python3.13" in shipped
    assert "git" not in shipped
    assert {"python3.13", "git"} <= compiling
    assert {each.name: each.version for each in place.lock.sources} == {
        "fetchy": "1",
        "transformers": "4.52.0.dev0",
        "vllm": "0.8.5+cu124",  # as the devel image's nvcc says
    }


def test_both_engines_make_the_same_wheels_and_the_same_image(place):
    embedded, shipped = place.made("embedded")
    docker, again = place.made("docker")
    assert [each.wheel for each in docker.sources] == [each.wheel for each in embedded.sources]
    assert again == shipped
    fetchy, _, fork = embedded.sources
    with wheel_file(place.store, fork.wheel.sha256) as path, zipfile.ZipFile(path) as wheel:
        assert wheel.read("vllm/kernels.o") == b"compiled: gemm\n"
    with wheel_file(place.store, fetchy.wheel.sha256) as path, zipfile.ZipFile(path) as wheel:
        assert wheel.read("fetchy/found.txt") == b"1"
    assert [path for path in BROUGHT if path in shipped] == [BROUGHT[0]]


def test_locking_again_changes_nothing_and_asks_no_package_manager(place, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    path = place.checkout.folder / "lockfiles" / "pylock.bare.toml"
    before = path.read_bytes()
    place.checkout.run("lock", "bare")
    assert path.read_bytes() == before


def test_without_the_package_the_lock_names_the_key(place, tmp_path):
    """A devel image without Python cannot be asked; the error says where, and what to add."""
    shutil.copytree(place.checkout.folder / "lockfiles", tmp_path / "lockfiles")
    spec = tmp_path / "lockfiles" / "bare.yaml"
    spec.write_text(spec.read_text().replace(", system: {packages: [python3, git]}}", "}"))
    bare = replace(place.checkout, folder=tmp_path)
    done = bare.run("lock", "bare", "--upgrade", code=7)
    assert re.search(r"metadata in \S+/cuda:12\.4\.1-devel, no Python runs there", done.stderr)
    assert "system: {packages: [python3]}, below build for an image to compile in" in done.stderr
    assert (tmp_path / "lockfiles" / "pylock.bare.toml").read_bytes() == (
        place.checkout.folder / "lockfiles" / "pylock.bare.toml"
    ).read_bytes()
