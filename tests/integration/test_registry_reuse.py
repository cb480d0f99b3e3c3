"""A machine with an empty store builds on what a registry holds."""

from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.engines.embedded import Foundation, assemble, seal
from envbuilder.engines.reuse import held_in, reusable
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.remote import verify
from envbuilder.model.errors import LockError
from envbuilder.model.lock import DebianBase, Lock, Wheel
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.spec import from_builtins
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.transfer import push
from envbuilder.storage.store import Store
from envbuilder.workflow.make import make_image
from envbuilder.workflow.publish import publish
from tests.contexts import context
from tests.servers.distribution import registry
from tests.servers.samples import layer_of
from tests.wheels import Recipe, write_wheel

pytestmark = pytest.mark.integration


def wheel_in(store: Store, folder: Path, name: str, version: str) -> Wheel:
    path = write_wheel(folder, Recipe(name=name, version=version, files={f"{name}.py": b"#\n"}))
    digest = Digest.of(path.read_bytes())
    store.adopt(path, digest)
    size = path.stat().st_size
    return Wheel(name=name, version=version, filename=path.name, size=size, sha256=digest)


def lock_of(*wheels: Wheel, python: str = "3.13") -> Lock:
    spec = from_builtins(
        {
            "version": 1,
            "name": "bare",
            "python": python,
            "base": {"debian": "trixie"},
            "packages": {wheel.name: "*" for wheel in wheels},
        }
    )
    return Lock(spec=spec, base=DebianBase(suite="trixie", packages=()), wheels=wheels)


class Full:
    """A machine that has built and pushed: its store, its sealed lock, its image."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "full")
        base = layer_of(self.store, {"etc/debian_version": b"13"}, "base")
        self.first, self.second = (
            wheel_in(self.store, folder, name, "1.0") for name in ("first", "second")
        )
        lock = lock_of(self.first, self.second)
        self.base = base
        self.image = self.built(lock)
        self.lock = seal(lock, self.image, engine="embedded")

    def built(self, lock: Lock):
        return assemble(
            context(self.store),
            lock,
            foundation=lambda _: Foundation(layers=(self.base,)),
            bring=lambda _wheel, _stop: None,
        )


@pytest.fixture
def full(tmp_path):
    return Full(tmp_path)


@pytest.fixture
def bare(tmp_path):
    return Store(tmp_path / "bare")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def client(tmp_path):
    with Client(Settings(backoff=0.01), docker_config=tmp_path / "none.json") as opened:
        yield opened


@pytest.fixture
def ref(server, tmp_path):
    name = tmp_path.name.replace("_", "-").lower()
    return ImageRef.parse(f"{server.host}/{name}:v1")


def test_a_bump_needs_only_the_wheel_that_changed(full, bare, client, ref, tmp_path):
    push(client, full.image, full.store, ref, Silent())
    bumped = wheel_in(bare, tmp_path, "second", "2.0")
    full.store.adopt(tmp_path / bumped.filename, bumped.sha256)
    lock = lock_of(full.first, bumped)
    repository = client.repository(ref)

    held = held_in(repository, reusable(full.lock, lock))
    image = make_image(context(bare, offline=True), lock, held=held)

    assert image.digest == full.built(lock).digest, "as if all of it had been made here"
    there = [layer.title for layer in image.layers if bare.has(layer.digest)]
    assert there == ["second 2.0", "environment bare"]
    target = replace(ref, tag="v2")
    push(client, image, bare, target, Silent())
    verdict = verify(
        client, target, seal(lock, image, engine="embedded"), level=Level.CONTENT,
        progress=Silent(),
    )  # fmt: skip
    assert verdict.ok


def test_a_sealed_lock_is_pushed_from_an_empty_store(full, bare, client, ref):
    push(client, full.image, full.store, ref, Silent())
    target = replace(ref, tag="again")
    pushed = publish(context(bare, registries=client), full.lock, target)
    assert (pushed.digest, pushed.evidence) == (full.image.digest, ())
    assert client.repository(ref).find("again") == pushed.digest


def test_what_is_nowhere_is_named(full, bare):
    with pytest.raises(Exception, match=r"first-1\.0") as caught:
        make_image(context(bare, offline=True), full.lock)
    assert caught.value.exit_code == 10


def test_a_seal_that_building_does_not_give_is_refused(full, bare, client, ref):
    push(client, full.image, full.store, ref, Silent())
    assert full.lock.seal is not None
    wrong = replace(full.lock.seal, manifest=Digest.of(b"other"))
    with pytest.raises(LockError, match="not the sealed"):
        publish(context(bare, registries=client), replace(full.lock, seal=wrong), ref)


def test_a_layer_depends_on_more_than_its_wheels(full):
    same = reusable(full.lock, full.lock)
    assert len(same.wheels) == 2
    assert same.base == (full.base,)
    other_python = lock_of(full.first, full.second, python="3.12")
    assert not reusable(full.lock, other_python).wheels
    unsealed = lock_of(full.first, full.second)
    assert not reusable(unsealed, full.lock).wheels
    spec = from_builtins(
        {"version": 1, "name": "bare", "python": "3.13", "base": {"debian": "trixie"},
         "packages": {"first": "*"}}
    )  # fmt: skip
    not_requested = replace(full.lock, spec=spec)
    titles = [group.title for group in reusable(full.lock, not_requested).wheels]
    assert titles == ["first 1.0"], "REQUESTED is part of the second one's layer"


def test_a_seal_of_another_layout_or_engine_is_not_used(full):
    assert full.lock.seal is not None
    for other in ({"layout": 0}, {"engine": "docker"}):
        changed = replace(full.lock, seal=replace(full.lock.seal, **other))
        assert not reusable(changed, full.lock).wheels
