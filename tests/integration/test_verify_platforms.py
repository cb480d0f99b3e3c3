"""Attacks on an index for two platforms: nothing that a puller might take goes unproven."""

import json
from dataclasses import replace
from functools import partial

import pytest

from envbuilder.evidence.verify.findings import FindingStatus, Level
from envbuilder.evidence.verify.platforms import verify_platforms
from envbuilder.evidence.verify.remote import look, verify
from envbuilder.model.image import OCI_INDEX, canonical_json
from envbuilder.model.image_config import image_settings
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from tests.servers.attacked import AMD64, ARM64, attacked
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import image_of, layer_of

pytestmark = pytest.mark.integration


class Both:
    """The sealed index of two platforms lies under ``v1``, and what is put there next counts."""

    def __init__(self, world):
        self.world = world
        spec = small_lock().spec
        lock = replace(small_lock(), spec=type(spec)(**_fields(spec) | {"platform": "linux/arm64"}))
        layer = layer_of(world.store, {"opt/arm": b"64"}, "arm layer")
        self.arm = image_of([layer], settings=image_settings(lock, {}), architecture="arm64")
        self.entries = [
            {**world.good(), "platform": AMD64}, {**world.hold(self.arm), "platform": ARM64},
        ]  # fmt: skip
        self.put(*self.entries)
        index = Digest.of(self.world.memory.manifests["v1"])
        self.locks = [
            replace(each, seal=replace(each.seal, index=index))
            for each in (world.lock, sealed(lock, self.arm))
        ]

    def put(self, *entries, **more):
        self.world.index(*entries, **more)

    def verify(self, level=Level.CONTENT, *, seen=None):
        prove = partial(verify, self.world.client, level=level, progress=Silent(), seen=seen)
        ref = self.world.ref
        return verify_platforms(self.world.client, ref, self.locks, prove, level=level, seen=seen)


def _fields(spec):
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


@pytest.fixture
def both(tmp_path):
    with attacked(tmp_path) as world:
        yield Both(world)


@pytest.mark.parametrize("level", [Level.DIGEST, Level.CONTENT])
def test_the_sealed_index_is_proven(both, level):
    verdict = both.verify(level)
    assert verdict.ok
    assert {each.status for each in verdict.findings} == {FindingStatus.OK}
    assert {each.subject.partition(" ")[0] for each in verdict.findings} == {
        "linux/amd64", "linux/arm64",
    }  # fmt: skip
    assert str(verdict.digest) == str(both.locks[0].seal.index)


def test_it_is_proven_by_what_was_seen_already(both):
    assert both.verify(seen=look(both.world.client, both.world.ref)).ok


def test_another_order_of_the_same_images_is_a_note(both):
    both.put(*reversed(both.entries))
    verdict = both.verify()
    assert verdict.ok
    assert verdict.count(FindingStatus.NOTE) == 2
    assert not both.verify(Level.DIGEST).ok


def stranger(**place):
    """List an evil image for another place, too."""
    platform = {"os": "linux", **{key.replace("_", "."): value for key, value in place.items()}}
    return lambda both: (*both.entries, both.world.evil() | {"platform": platform})


def second(**change):
    """Change the entry for arm64."""
    return lambda both: (both.entries[0], both.entries[1] | change)


ATTACKS = {
    "a third platform": stranger(architecture="arm", variant="v7"),
    "another system": stranger(os="windows", architecture="amd64"),
    "an attestation": stranger(os="unknown", architecture="unknown"),
    "a newer variant": stranger(architecture="arm64", variant="v9"),
    "the same platform spelled twice": stranger(architecture="arm64", variant="v8"),
    "a condition of another": stranger(architecture="amd64", os_version="10"),
    "one without a platform": lambda both: (*both.entries, both.world.evil()),
    "one that is listed twice": lambda both: (both.entries[0], *both.entries),
    "one is missing": lambda both: both.entries[:1],
    "the other is missing": lambda both: both.entries[1:],
    "none is there": lambda _: (),
    "they are swapped": lambda both: (
        both.entries[0] | {"platform": ARM64}, both.entries[1] | {"platform": AMD64},
    ),
    "one for both": lambda both: (both.entries[0], both.entries[0] | {"platform": ARM64}),
    "another image": lambda both: (both.entries[0], both.world.evil() | {"platform": ARM64}),
    "a condition": second(platform=ARM64 | {"os.features": ["sve"]}),
    "another spelling": second(platform={"os": "linux", "architecture": "aarch64"}),
    "a wrong size": second(size=1),
    "a foreign note": second(annotations={"io.containerd.image.name": "evil"}),
    "an address": second(urls=["https://evil.example.test/"]),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("known", [False, True], ids=["asked", "seen"])
def test_what_a_puller_might_take_otherwise_is_a_mismatch(both, attack, known):
    both.put(*ATTACKS[attack](both))
    seen = None
    if known and attack != "none is there":
        seen = look(both.world.client, both.world.ref)
    verdict = both.verify(seen=seen)
    assert verdict.exit_code == 9, verdict.findings
    assert both.verify(Level.DIGEST).exit_code == 9


def test_an_index_in_an_index_is_a_mismatch(both):
    nested = both.world.tag(both.world.memory.manifests["v1"], "nested")
    nested["mediaType"] = OCI_INDEX
    both.put(nested | {"platform": AMD64}, both.entries[1])
    assert both.verify().exit_code == 9


@pytest.mark.parametrize("which", [0, 1])
def test_an_image_alone_is_no_index(both, which):
    image = (both.world.image, both.arm)[which]
    both.world.tag(image.manifest)
    verdict = both.verify()
    assert verdict.exit_code == 9
    assert [each.explanation for each in verdict.findings] == ["an image is there, and no index"]
    assert both.verify(Level.DIGEST).exit_code == 9


def test_a_blob_that_is_missing_is_no_proof(both):
    del both.world.memory.manifests[both.entries[1]["digest"]]
    verdict = both.verify()
    assert not verdict.ok
    assert any(each.subject.startswith("linux/arm64") for each in verdict.findings
        if each.status is not FindingStatus.OK)  # fmt: skip


def test_a_tag_that_moves_meanwhile_is_not_followed(both):
    """All is compared with what the tag named first, whoever moves it in between."""
    prove = partial(verify, both.world.client, level=Level.CONTENT, progress=Silent())
    asked = []

    def moving(ref, lock):
        asked.append(ref)
        both.put(both.world.evil() | {"platform": AMD64})
        return prove(ref, lock)

    verdict = verify_platforms(
        both.world.client, both.world.ref, both.locks, moving, level=Level.CONTENT
    )
    assert verdict.ok
    assert {each.digest for each in asked} == {both.locks[0].seal.index}
    assert json.loads(both.world.memory.manifests["v1"])["manifests"] != both.entries


def test_a_foreign_member_of_the_index_is_a_mismatch(both):
    content = json.loads(both.world.memory.manifests["v1"]) | {"subject": both.entries[0]}
    both.world.tag(canonical_json(content))
    assert both.verify().exit_code == 9
