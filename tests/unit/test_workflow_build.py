"""The main job on a small image base, no container in it: what is read, fetched and written."""

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from envbuilder.engines.reuse import ReusableLayers
from envbuilder.model.errors import LockError, NetworkError, SmokeError, SpecError, UsageError
from envbuilder.model.image import OCI_MANIFEST
from envbuilder.model.lock import ImageBase, Lock, Wheel
from envbuilder.model.pylock import lock_path, read_lock, write_lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import load
from envbuilder.resolve.base import resolve_base
from envbuilder.resolve.release import EVERYTHING
from envbuilder.runtime.trees import list_layers, prune_trees
from envbuilder.storage.store import Store
from envbuilder.workflow.build import BuildResult, Decisions, build_environment
from envbuilder.workflow.deploy.deployment import Wishes
from envbuilder.workflow.deploy.run_here import ready_to_run
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import fetch, make_to_smoke
from tests.contexts import context
from tests.servers.samples import image_of, layer_of
from tests.servers.scripted import Call, Seen, scripted
from tests.wheels import Recipe, write_wheel

SPEC = """\
version: 1
name: onimage
python: "3.13"
base: {image: "HOST/app:1"}
packages: {first: "==1.0"}
"""


class Desk:
    """A locked spec, its base in a registry, and a store that has nothing but the wheel."""

    def __init__(self, folder: Path) -> None:
        elsewhere = Store(folder / "elsewhere")
        self.base = image_of([layer_of(elsewhere, {"etc/os-release": b"ID=x"}, "base")])
        elsewhere.add(self.base.config)
        self.held = {str(blob.digest): elsewhere.read(blob.digest) for blob in elsewhere.ls()}
        self.store = Store(folder / "store")
        path = write_wheel(folder, Recipe(name="first", files={"first.py": b"#\n"}))
        digest = self.store.adopt(path, Digest.of(path.read_bytes()))
        size = path.stat().st_size
        self.wheel = Wheel(
            name="first", version="1.0", filename=path.name, size=size, sha256=digest
        )
        self.spec = folder / "lockfiles" / "onimage.yaml"
        self.path = lock_path(self.spec)

    def write(self, host: str) -> None:
        """Write the spec on the base as the registry at ``host`` has it, and its lock."""
        self.spec.parent.mkdir()
        self.spec.write_text(SPEC.replace("HOST", host))
        base = ImageBase(
            reference=f"{host}/app:1",
            digest=self.base.digest,
            config=self.base.config_digest,
            layers=self.base.layers,
        )
        self.lock = Lock(spec=load(self.spec), base=base, wheels=(self.wheel,))
        write_lock(self.path, self.lock)

    def answer(self, call: Call, request: Seen) -> None:
        """Answer as a registry does that holds the base."""
        if "/manifests/" in request.path:
            call.answer(200, self.base.manifest, Content_Type=OCI_MANIFEST)
        elif (found := self.held.get(request.path.rpartition("/")[2])) is not None:
            call.answer(200, found)
        else:
            call.answer(404)

    def build(self, meanwhile=lambda: None) -> BuildResult:
        """Build without a network or a smoke; ``meanwhile`` is called in the midst of it."""

        def reuse(_: Lock) -> ReusableLayers:
            meanwhile()
            return ReusableLayers()

        return build_environment(
            context(self.store, offline=True), self.spec, Decisions(), runtime=None, reuse=reuse
        )


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    with scripted(made.answer) as server:
        made.write(server.host)
        yield made


@pytest.fixture
def fetched(desk):
    fetch(context(desk.store), desk.lock)
    return desk


def test_what_was_fetched_is_built_without_a_network(fetched):
    fetched.build()
    assert read_lock(fetched.path).seal is not None


def test_a_fetch_brings_the_config_where_the_layers_are_there_already(desk):
    for layer in desk.base.layers:
        desk.store.add(desk.held[str(layer.digest)])
    with pytest.raises(NetworkError, match="lacks the config") as caught:
        desk.build()
    assert caught.value.hint.startswith("run envbuilder fetch onimage")
    fetch(context(desk.store), desk.lock)
    desk.build()


def test_a_sample_that_is_gone_is_told_before_the_work(desk):
    text = desk.spec.read_text() + "smoke: {model: {family: qwen2_vl}, samples: [gone.png]}\n"
    desk.spec.write_text(text)
    write_lock(desk.path, replace(desk.lock, spec=load(desk.spec)))
    before, held = desk.path.read_bytes(), desk.store.ls()
    with pytest.raises(SpecError, match=r"gone\.png: cannot be read"):
        build_environment(context(desk.store), desk.spec, Decisions(), runtime=Never())
    assert desk.path.read_bytes() == before
    assert desk.store.ls() == held


def test_whoever_runs_an_image_needs_no_samples(fetched):
    text = "smoke: {model: {family: qwen2_vl}, samples: [gone.png]}\n"
    fetched.spec.write_text(fetched.spec.read_text() + text)
    write_lock(fetched.path, replace(fetched.lock, spec=load(fetched.spec)))
    here = context(fetched.store, offline=True)
    with ready_to_run(here, fetched.spec, Wishes(), engine="oci", in_shell=True) as ready:
        assert ready.shown


def test_what_is_about_to_run_stays_until_it_has_run(fetched):
    here = context(fetched.store, offline=True)
    with ready_to_run(here, fetched.spec, Wishes(), engine="oci", in_shell=True):
        trees = set(list_layers(fetched.store))
        assert trees
        fetched.store.prune(keep=[], unused_for=0)
        prune_trees(fetched.store)
        assert set(list_layers(fetched.store)) == trees
        assert {blob.digest for blob in fetched.store.ls()} == trees
    fetched.store.prune(keep=[], unused_for=0)
    prune_trees(fetched.store)
    assert list_layers(fetched.store) == []


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("model: {path: ./gone}", "there is no model directory .*/gone"),
        ("models: [{family: llava}, {config: .}]", "holds no config.json"),
        ("model: {hub: Qwen/Qwen3-VL-8B-Instruct}", "models--Qwen--Qwen3-VL-8B-Instruct"),
    ],
)
def test_a_model_that_is_not_here_is_told_before_the_work(desk, monkeypatch, named, words):
    monkeypatch.setenv("HF_HUB_CACHE", str(desk.spec.parent))
    desk.spec.write_text(f"{desk.spec.read_text()}smoke: {{{named}}}\n")
    write_lock(desk.path, replace(desk.lock, spec=load(desk.spec)))
    before, held = desk.path.read_bytes(), desk.store.ls()
    with pytest.raises(SmokeError, match=words):
        build_environment(context(desk.store), desk.spec, Decisions(), runtime=Never())
    with pytest.raises(SmokeError, match=words):
        make_to_smoke(context(desk.store), desk.spec, runtime=Never())
    assert desk.path.read_bytes() == before
    assert desk.store.ls() == held


class Never:
    """A runtime that could run anything, and is never asked to."""

    name = "never"
    overlays = False


def test_a_lock_that_changed_during_a_build_stays(fetched):
    other = replace(fetched.lock, wheels=())
    with pytest.raises(LockError, match="changed while it was built"):
        fetched.build(lambda: write_lock(fetched.path, other))
    assert read_lock(fetched.path) == other


def test_two_builds_that_seal_alike_do_not_disturb_each_other(fetched):
    fetched.build(fetched.build)
    assert read_lock(fetched.path).seal is not None


def test_a_damaged_lock_is_made_anew_only_when_every_pin_is_let_go(desk, monkeypatch):
    desk.path.write_text("<<<<<<< HEAD\n")
    monkeypatch.setattr("envbuilder.workflow.lock.resolve_spec", lambda *_, **__: desk.lock)
    with pytest.raises(LockError, match="is not TOML") as caught:
        lock_environment(context(desk.store), desk.spec)
    assert "envbuilder lock NAME --upgrade" in caught.value.hint
    lock_environment(context(desk.store), desk.spec, release=(EVERYTHING,))
    assert read_lock(desk.path) == desk.lock


def test_an_image_stays_for_its_own_platform_only(desk):
    kept = resolve_base(context(desk.store), desk.lock.spec, desk.lock)
    assert kept == desk.lock.base
    other = structs.replace(desk.lock.spec, platform="linux/arm64")
    with pytest.raises(NetworkError, match="linux/amd64, not for linux/arm64"):
        resolve_base(context(desk.store), other, desk.lock)


def test_a_package_to_let_go_of_must_be_there(desk):
    with pytest.raises(UsageError, match="no package frist") as caught:
        lock_environment(context(desk.store), desk.spec, release=("frist",))
    assert "did you mean first?" in caught.value.hint
