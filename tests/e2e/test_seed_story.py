"""The story that this project began with, on stand-ins of its repositories and images.

A spec pins transformers' preview tag and one commit of a vLLM fork, which is compiled in a CUDA
`devel` image and shipped on a `runtime` one. Its smoke is red: 729 tokens where the engine reserves
16384. A bump to a later commit is green, and bisection names the commit that mended it.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from envbuilder.engines.buildkit import find_builder
from envbuilder.engines.foundation import foundation_layers
from envbuilder.engines.render import files_stage, further_stage
from envbuilder.layers.files import Content, files_layer
from envbuilder.layers.tar import MTIME
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.image import compose
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import read_lock
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.layout import load
from envbuilder.registry.transfer import push
from envbuilder.resolve.python.uv import find_uv
from envbuilder.storage.store import Store
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.e2e.conftest import Checkout
from tests.integration.test_docker_same_tree import tree
from tests.servers import seed
from tests.servers.distribution import registry
from tests.servers.git import git_http

pytestmark = [pytest.mark.integration]

SPEC = """\
version: 1
name: seed
python: "3.13"
base: {{image: {registry}/cuda:12.4.1-runtime}}
build: {{image: {registry}/cuda:12.4.1-devel}}
packages:
  torch: {{path: {torch}}}
  numpy: {{path: {numpy}}}
  pillow: {{path: {pillow}}}
  transformers: {{git: "{git}/transformers/.git", tag: v4.51.3-Qwen2.5-Omni-preview}}
  vllm:
    git: "{git}/vllm/.git"
    branch: main
    commit: {commit}
    build:
      sources: {{cutlass: {{git: "{git}/cutlass/.git", branch: main}}}}
      env: {{VLLM_CUTLASS_SRC_DIR: "{{sources.cutlass}}"}}
index: {{exclude_newer: 2025-06-29T00:00:00Z}}
env: {{VLLM_USE_V1: "0"}}
smoke:
  model: {{family: qwen2_5_omni}}
  tokens: {{audio: 750, image: 16384, video: 16384}}
"""
# The stand-ins have no encoders whose embeddings could be counted: only the engine is asked.
COMMAND = """\
import dataclasses
from envbuilder.workflow import smoke
whole = smoke.smoke_plan
smoke.smoke_plan = lambda *args, **named: dataclasses.replace(
    whole(*args, **named), checks=("environment", "engine"))
from envbuilder.__main__ import main
main()
"""


@dataclass(frozen=True, kw_only=True)
class Story:
    """The checkout in which it happens, with the fork's commits in order."""

    checkout: Checkout
    served: Path
    commits: list[str]

    def run(self, *args: str, code: int = 0) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *args],
            cwd=self.checkout.folder,
            env={**os.environ, **self.checkout.env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{args}: {done.stdout}\n{done.stderr}"
        return done

    @property
    def lock(self) -> Path:
        return self.checkout.folder / "lockfiles" / "pylock.seed.toml"

    @property
    def store(self) -> Store:
        return Store(Path(self.checkout.env["ENVBUILDER_CACHE"]))


@pytest.fixture(scope="module")
def story(small, tmp_path_factory):
    """Serve what the spec names: images whose Python is the small environment's base, and git."""
    folder = tmp_path_factory.mktemp("seed")
    checkout = small.copy(folder / "checkout")
    _, commits = seed.repositories(folder / "served", between=2)
    lockfiles = checkout.folder / "lockfiles"
    wheels = seed.wheels(lockfiles)
    with registry(folder / "registry") as images, git_http(folder / "served") as server:
        _push_images(checkout, images.host)
        spec = SPEC.format(registry=images.host, git=server.url, commit=commits[0], **wheels)
        (lockfiles / "seed.yaml").write_text(spec)
        yield Story(checkout=checkout, served=folder / "served", commits=commits)


def _push_images(checkout: Checkout, host: str) -> None:
    store, lock = Store(Path(checkout.env["ENVBUILDER_CACHE"])), read_lock(checkout.lock)
    layers = foundation_layers(context(store, offline=True), lock).layers
    nvcc = Content(data=seed.NVCC.encode(), mode=0o755)
    toolkit = files_layer(store, {"/usr/local/cuda/bin/nvcc": nvcc}, title="toolkit")
    path = "PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    settings = {"Env": [path, "CUDA_VERSION=12.4.1"]}
    with Client.from_environment() as client:
        for name, stack in (("runtime", layers), ("devel", (*layers, toolkit))):
            image = compose(stack, platform="linux/amd64", settings=settings)
            store.add(image.config)
            place = ImageRef.parse(f"{host}/cuda:12.4.1-{name}")
            push(client, image, store, place, Silent())


@pytest.fixture(scope="module")
def red(story):
    """Lock and build the first commit; return what its smoke found, and keep its lock."""
    locked = story.run("lock", "seed")
    assert "/cuda:12.4.1-devel: it may depend on where it is asked (nvcc" in locked.stderr
    done = story.run("build", "seed", "-o", "json", code=8)
    (story.checkout.folder / "bad.toml").write_bytes(story.lock.read_bytes())
    return json.loads(done.stdout)["smoke"]


@pytest.fixture(scope="module")
def mended(story, red):
    """Move the fork to its newest commit, whose smoke is green."""
    assert red["verdict"] == "fail"
    story.run("bump", "seed", f"vllm@{story.commits[-1]}")
    return read_lock(story.lock)


def test_what_is_locked_is_what_its_images_say(story, red):
    assert red
    transformers, fork = read_lock(story.checkout.folder / "bad.toml").sources
    assert transformers.version == "4.52.0.dev0"  # fits the fork's own >=4.51.1
    assert fork.version == "0.8.5+cu124"
    assert [tree.name for tree in fork.sources] == ["cutlass"]
    with wheel_file(story.store, fork.wheel.sha256) as path, zipfile.ZipFile(path) as wheel:
        assert wheel.read("vllm/kernels.o") == b"compiled: gemm\n"


def test_the_headline_has_both_numbers_and_the_cause(red):
    [failed] = [check for check in red["checks"] if check["status"] in {"fail", "error"}]
    assert failed["name"] == "engine.reserve"
    assert (failed["expected"], failed["actual"]) == ("video 16384", "video 729")
    assert failed["cause"]["id"] == "processor-video-cap"
    assert "engine.reserve: vLLM 0.8.5+cu124 would stop at start-up" in red["summary"]
    assert "'video': 729" in red["summary"]
    assert "'video': 16384" in red["summary"]


def test_a_later_commit_is_green(story, mended):
    assert mended.sources[1].commit == story.commits[-1]
    history = json.loads(story.run("history", "seed", "-o", "json").stdout)
    assert [each["good"] for each in history] == [False, True]


def test_bisection_names_the_commit_that_mended_it(story, mended):
    assert mended
    ends = ("--good", str(story.lock), "--bad", "bad.toml")
    done = story.run("bisect", "seed", *ends, "-o", "json")
    found = json.loads(done.stdout)["narrowed"]
    assert found["package"] == "vllm"
    assert found["mended_by"] == found["last_good"] == story.commits[-2]
    assert found["first_bad"] == story.commits[-3]
    assert "to build: vllm at" in done.stderr
    assert "(the last one took " in done.stderr


@pytest.mark.docker
def test_the_rendered_folder_builds_with_plain_buildkit(story, mended, tmp_path):
    """The folder is all that it takes, but for what no test can pull: git and pip in the images."""
    story.run("render", "seed")
    given = {"tools": _tools(tmp_path), **_files(story, mended, tmp_path)}
    made = tmp_path / "image"
    subprocess.run(
        [
            *find_builder(None).command,
            *(f"--build-context={stage}={place}" for stage, place in given.items()),
            f"--build-arg=SOURCE_DATE_EPOCH={MTIME}",
            "--provenance=false",
            f"--output=type=oci,tar=false,rewrite-timestamp=true,dest={made}",
            str(story.checkout.folder / "docker" / "seed"),
        ],
        check=True,
    )
    image, blobs = load(made, "linux/amd64")
    for layer in image.layers:
        story.store.adopt(blobs / layer.digest.hex, layer.digest)
    here = context(story.store)
    assert tree(story.store, image) == tree(story.store, make_image(here, mended))


def _tools(folder: Path) -> Path:
    (folder / "tools/opt/uv/bin").mkdir(parents=True)
    shutil.copy2(find_uv(), folder / "tools/opt/uv/bin/uv")
    return folder / "tools"


def _files(story: Story, lock: Lock, folder: Path) -> dict[str, Path]:
    """Check out what the rendered Dockerfile would fetch: stage -> folder."""
    made = {}
    for source in lock.sources:
        wanted = {files_stage(source.name): {"": source}}
        if source.sources:
            wanted[further_stage(source.name)] = {tree.name: tree for tree in source.sources}
        for stage, trees in wanted.items():
            for name, commit in trees.items():
                place = folder / stage / name
                place.mkdir(parents=True)
                origin = story.served / commit.repository.rpartition("/.git")[0].rpartition("/")[2]
                archive = ("git", "-C", origin, "archive", "-o", folder / "archive", commit.commit)
                subprocess.run(archive, check=True)
                subprocess.run(["tar", "-xf", folder / "archive", "-C", place], check=True)
            made[stage] = folder / stage
    return made
