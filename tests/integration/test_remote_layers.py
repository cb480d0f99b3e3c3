"""Machines that share layers: what one has made and signed, another takes over unseen."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from envbuilder.engines.embedded import Foundation, assemble, seal
from envbuilder.engines.remote_layers import base_key, held_remotely, offer_layers, wheel_keys
from envbuilder.evidence.keyring import Keyring, TrustedKey
from envbuilder.evidence.remote_layers import SignedLayers
from envbuilder.model.image import OCI_MANIFEST, canonical_json
from envbuilder.model.lock import DebianBase, Lock, Wheel
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.spec import from_builtins
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Manifest
from envbuilder.storage.store import Store
from envbuilder.workflow.make import make_image
from envbuilder.workflow.publish import publish
from tests.contexts import context
from tests.servers.counting import counted
from tests.servers.distribution import registry
from tests.servers.samples import layer_of
from tests.wheels import Recipe, write_wheel

pytestmark = pytest.mark.integration

KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())
SPEC = {
    "version": 1,
    "name": "shared",
    "python": "3.13",
    "base": {"debian": "trixie"},
    "packages": {"one": "*", "two": "*"},
}
SIZE = 300_000  # bytes of each wheel's file, which no compressor makes smaller


def _wheel(store: Store, folder: Path, name: str) -> Wheel:
    noise = b"".join(Digest.of(f"{name}{n}".encode()).hex.encode() for n in range(SIZE // 64))
    path = write_wheel(folder, Recipe(name=name, version="1.0", files={f"{name}.bin": noise}))
    digest = Digest.of(path.read_bytes())
    size = path.stat().st_size
    store.adopt(path, digest)
    return Wheel(name=name, version="1.0", filename=path.name, size=size, sha256=digest)


class Notes(Silent):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


class Machine:
    """A machine with a store of its own, which sees the team's place with or without a key."""

    def __init__(
        self, folder: Path, client: Client, place: ImageRef, *, key=None, trust=KEY
    ) -> None:
        self.store = Store(folder)
        self.notes = Notes()
        self.layers = SignedLayers(
            place=place, registries=client, trusted=Keyring.of(trust.public_key()), key=key
        )
        self.context = context(self.store, self.notes, registries=client, remote=self.layers)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


class Team:
    """A team's place, and the machine that has put there what its lock is made of."""

    def __init__(self, folder: Path, client: Client, place: ImageRef) -> None:
        self.folder, self.client, self.place = folder, client, place
        self.first = self.machine("first", key=KEY)
        wheels = tuple(_wheel(self.first.store, folder, name) for name in ("one", "two"))
        self.lock = Lock(
            spec=from_builtins(SPEC), base=DebianBase(suite="trixie", packages=()), wheels=wheels
        )
        base = layer_of(self.first.store, {"etc/debian_version": b"13"}, "Debian")
        self.image = assemble(
            self.first.context,
            self.lock,
            foundation=lambda _: Foundation(layers=(base,)),
            bring=lambda _wheel, _stop: None,
        )
        offer_layers(self.first.context, self.lock, self.image)
        assert self.first.notes.texts == []

    def machine(self, name: str, **more: Any) -> Machine:
        return Machine(self.folder / name, self.client, **{"place": self.place, **more})

    @property
    def keys(self) -> list[str]:
        return [*wheel_keys(self.lock), str(base_key(self.lock))]


@pytest.fixture
def team(server, tmp_path):
    place = ImageRef.parse(f"{server.host}/{tmp_path.name.replace('_', '-').lower()}/layers")
    settings = Settings(attempts=2, backoff=0.01)
    with Client(settings, docker_config=tmp_path / "none.json") as client:
        yield Team(tmp_path, client, place)


def test_a_machine_with_an_empty_store_makes_the_same_image_of_what_another_made(team):
    second = team.machine("second")
    made = make_image(second.context, team.lock)
    assert made.digest == team.image.digest
    assert all(second.store.has(layer.digest) for layer in made.layers)
    assert not any(second.store.has(wheel.sha256) for wheel in team.lock.wheels), "no wheel came"


def test_what_is_here_already_is_not_asked_for(team, monkeypatch):
    asked = []
    monkeypatch.setattr(SignedLayers, "_find", lambda _self, key: asked.append(key))
    held_remotely(team.first.context, team.lock, bring=True)
    assert not set(asked) & set(wheel_keys(team.lock))


def test_a_push_to_the_same_registry_sends_no_layer(team, server):
    config = team.folder / "none.json"
    with counted(server.host) as counter, Client(Settings(), docker_config=config) as client:
        place = replace(team.place, registry=counter.host)
        second = Machine(team.folder / "second", client, place)
        held = held_remotely(second.context, team.lock, bring=False)
        made = make_image(second.context, team.lock, held=held)
        target = replace(place, repository=f"{place.repository}-app", tag="v")
        pushed = publish(second.context, seal(team.lock, made, engine="embedded"), target)
    assert pushed.digest == team.image.digest
    assert counter.sent + counter.received < SIZE / 2, "manifests and mounts, no layer"
    missing = [layer.title for layer in made.layers if not second.store.has(layer.digest)]
    assert missing == ["Debian", "one 1.0", "two 1.0"]


def test_what_a_stranger_signed_is_not_there(team):
    other = team.machine("other", trust=STRANGER)
    held = held_remotely(other.context, team.lock, bring=True)
    assert (held.base, dict(held.wheels)) == ((), {})


def test_a_statement_counts_for_its_own_inputs_alone(team):
    repository = team.client.repository(team.place)
    moved = repository.manifest(_tag(team.keys[0]))
    repository.put_manifest(moved, _tag(team.keys[1]))  # whoever may push can move a tag
    assert set(team.first.layers.find(team.keys)) == {team.keys[0], team.keys[2]}


@pytest.mark.parametrize("note", [None, "", "{}", "x", "[" * 100_000])
def test_junk_in_its_place_is_nothing(team, note):
    repository, key = team.client.repository(team.place), team.keys[0]
    content = {**repository.manifest(_tag(key)).content, "annotations": {}}
    if note is not None:
        content["annotations"] = {"dev.gpu-envbuilder.layers": note}
    junk = Manifest(body=canonical_json(content), media_type=OCI_MANIFEST)
    repository.put_manifest(junk, _tag(key))
    assert key not in team.first.layers.find([key])


def test_what_was_signed_after_a_key_was_given_up_does_not_count(team):
    gone = TrustedKey(key=KEY.public_key(), until=datetime(2020, 1, 1, tzinfo=UTC))
    late = replace(team.first.layers, trusted=Keyring(keys=(gone,)))
    assert late.find(team.keys) == {}


def test_a_damaged_blob_is_told_and_nothing_of_it_is_kept(team, server):
    second, layer = team.machine("second"), team.image.layers[1]
    path = server.blob_path(layer.digest.hex)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    held = held_remotely(second.context, team.lock, bring=True)
    path.write_bytes(data)
    assert not held.wheels
    assert not second.store.has(layer.digest)
    assert "nothing is taken from" in " ".join(second.notes.texts)


def test_a_place_that_is_gone_hinders_nobody(team, closed):
    nowhere = ImageRef.parse(f"{closed.removeprefix('http://')}/team/layers")
    alone = team.machine("alone", place=nowhere, key=KEY)
    assert held_remotely(alone.context, team.lock, bring=True).wheels == {}
    context = replace(team.first.context, remote=alone.layers, progress=alone.notes)
    offer_layers(context, team.lock, team.image)
    told = " ".join(alone.notes.texts)
    assert "nothing is taken from" in told
    assert "not all is put into" in told


def test_without_a_key_nothing_is_put_there(team):
    other = replace(team.place, repository=f"{team.place.repository}-read")
    reader = team.machine("reader", place=other)
    context = replace(team.first.context, remote=reader.layers)
    offer_layers(context, team.lock, team.image)
    assert reader.layers.find(team.keys) == {}


def _tag(key: str) -> str:
    return f"layers-{Digest.of(key.encode()).hex}"
