"""A second signed push asks two things; whatever speaks against the memory is looked at again."""

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace as changed

from envbuilder.evidence.attach import attach, attestation_tag, sign, signature_tag
from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.signers import KeySigner, Signing
from envbuilder.evidence.standing import Standings
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.policy import Policy
from envbuilder.model.image import OCI_INDEX, OCI_MANIFEST, canonical_json
from envbuilder.model.reference import Digest
from envbuilder.registry.referrers import fallback_tag
from envbuilder.resolve.context import Context
from envbuilder.storage.build_records import keep_report
from envbuilder.storage.store import Store
from envbuilder.workflow.publish import publish
from tests.integration.test_publish_truth import Notes, report
from tests.servers.attacked import attacked
from tests.servers.quirky import with_api

pytestmark = pytest.mark.integration

FULL = Policy(required=("test-result", "provenance", "sbom", "signature"))
FORMS = ("tags", "bundles", "API")


class Desk:
    """A sealed and smoked image, pushed with my key in one form, and every request that it took."""

    def __init__(self, world, form):
        self.world, self.bundles, self.asked, self.notes = world, form != "tags", [], Notes()
        api = with_api(acknowledged=True) if form == "API" else lambda *_: False

        def fault(memory, call, request):
            self.asked.append(f"{request.method} {request.path.removeprefix('/v2/app/')}")
            return api(memory, call, request)

        world.memory.fault = fault
        self.smoked("pass")

    @property
    def places(self):
        """The tags that evidence stands under, if it does not stand in a list of the API's."""
        digest = self.world.image.digest
        tags = [attestation_tag(digest), signature_tag(digest), fallback_tag(digest)]
        return [tag for tag in tags if tag in self.world.memory.manifests]

    def smoked(self, verdict, store=None):
        keep_report(store or self.world.store, self.world.image.digest, report(verdict))

    def push(self, key="mine", *, store=None, lock=None, **more):
        """Push; give the requests."""
        context = Context(
            store=store or self.world.store, progress=self.notes, registries=self.world.client
        )
        signer = KeySigner(key=self.world.key(key)[0])
        signing = Signing(signer=signer, bundles=more.pop("bundles", self.bundles))
        self.asked.clear()
        publish(context, lock or self.world.lock, self.world.ref, signing=signing, **more)
        return list(self.asked)

    def verify(self, key="mine", **more):
        """Return the exit code of a verification that wants everything."""
        keyring = Keyring.of(self.world.key(key)[1])
        return self.world.verify(Level.EVIDENCE, FULL, keyring=keyring, **more).exit_code

    def other_store(self):
        """Make the store of another machine, which knows the image and nothing of any push."""
        store = Store(self.world.folder / "other")
        for document in (self.world.image.manifest, self.world.image.config):
            store.add(document)
        return store

    def memory(self):
        signer = KeySigner(key=self.world.key()[0]).name
        form = "bundles" if self.bundles else "tags"
        standings = Standings(self.world.store, self.world.repository)
        return standings, standings.find(self.world.image.digest, signer, form)


def writes(requests):
    return [each for each in requests if each.split()[0] not in {"HEAD", "GET"}]


@contextmanager
def made(folder, form):
    with attacked(folder) as world:
        for document in (world.image.manifest, world.image.config):
            world.store.add(document)
        yield Desk(world, form)


@pytest.fixture(params=FORMS)
def desk(request, tmp_path):
    """Pushed once, in each form."""
    with made(tmp_path, request.param) as running:
        running.push()
        yield running


@pytest.fixture
def tags(tmp_path):
    """Pushed once, under tags."""
    with made(tmp_path, "tags") as running:
        running.push()
        yield running


def test_a_second_push_asks_two_things(desk):
    """Whether the tag is right, and one of the places of the evidence, each in its turn."""
    assert desk.verify() == 0
    pushes = [desk.push() for _ in range(4)]
    assert {len(requests) for requests in pushes} == {2}
    assert {first for first, _ in pushes} == {"HEAD manifests/v1"}
    second = {each for _, each in pushes}
    digest = desk.world.image.digest
    listed = {f"GET referrers/{digest}"}
    assert second == ({f"HEAD manifests/{tag}" for tag in desk.places} or listed)
    assert desk.verify() == 0


def test_under_another_tag_it_is_found_as_well(desk):
    desk.world.ref = replace(desk.world.ref, tag="v2")
    assert writes(desk.push()) == ["PUT manifests/v2"]
    assert len(desk.asked) == 4, "is it there, the image, its evidence, and the tag"


def test_what_the_registry_lost_is_attached_again(desk):
    """Whichever place was cleaned up: the second push notices at the latest."""
    held = desk.world.memory.manifests
    referrers = [
        name for name, body in held.items()
        if "subject" in json.loads(body) and not desk.places
    ]  # fmt: skip
    for lost in [*desk.places, *referrers]:
        del held[lost]
        assert desk.verify() == 9
        assert any(writes(desk.push()) for _ in range(2))
        assert desk.verify() == 0
        assert len(desk.push()) == 2


def test_documents_that_are_gone_are_noticed_by_who_verifies_here(desk):
    """The list of them is as it was; only who reads them can tell."""
    blobs = desk.world.memory.blobs
    for digest in [each for each, body in blobs.items() if b"payload" in body]:
        del blobs[digest]
    assert desk.verify(store=desk.world.store) == 9
    assert writes(desk.push())
    assert desk.verify() == 0


def test_whoever_writes_over_it_is_noticed(tags):
    """Without us in it, a stranger's signatures stand there: ours joins them."""
    digest = tags.world.image.digest
    del tags.world.memory.manifests[signature_tag(digest)]
    sign(tags.world.repository, digest, tags.world.key("other")[0])
    assert any(writes(tags.push()) for _ in range(2))
    assert tags.verify() == 0
    assert {len(tags.push()) for _ in range(2)} == {2}
    layers = json.loads(tags.world.memory.manifests[signature_tag(digest)])["layers"]
    assert len(layers) == 2, "the other signer's is still there"


def test_whoever_signs_as_well_changes_nothing(desk):
    """Another key's evidence beside ours: it is read once, and nothing is sent."""
    desk.push("other")
    assert not any(writes(desk.push()) for _ in range(2))
    assert {len(desk.push()) for _ in range(2)} == {2}
    assert desk.verify() == desk.verify("other") == 0


def test_a_newer_failure_is_pushed(desk):
    desk.smoked("fail")
    assert writes(desk.push())
    assert "FAILED" in "\n".join(desk.notes.said)
    assert desk.verify() == 9
    assert len(desk.push()) == 2
    assert desk.verify() == 9


def test_a_newer_failure_of_another_machine_stays_the_truth(desk):
    """By the same key: what this machine remembers puts no older result over it."""
    other = desk.other_store()
    soon = (datetime.now(UTC) + timedelta(minutes=2)).isoformat(timespec="seconds")
    failed = smoke_result(desk.world.lock, desk.world.image.digest, report("fail"), finished=soon)
    attach(desk.world.repository, desk.world.image.digest, [failed], desk.world.key()[0])
    for _ in range(4):
        desk.push()
        assert desk.verify() == 9
    desk.push(store=other)
    assert desk.verify() == 9


def test_another_key_signs_for_itself(desk):
    assert writes(desk.push("new"))
    assert desk.verify("new") == 0
    assert {len(desk.push("new")) for _ in range(2)} == {2}


def test_bundles_beside_tags_are_made_when_asked_for(tags):
    assert len(tags.push(bundles=None)) == 2
    assert writes(tags.push(bundles=True))
    assert fallback_tag(tags.world.image.digest) in tags.world.memory.manifests
    assert len(tags.push(bundles=True)) == 2
    assert tags.push(bundles=None)[1:] == [
        f"HEAD manifests/{fallback_tag(tags.world.image.digest)}"
    ], "what is there in both forms is kept in that which cosign 3 reads"


def test_the_form_of_another_image_under_the_tag_is_asked_for(tags):
    """The tag moved to an image with bundles, and comes back: so bundles it is."""
    before = tags.world.memory.manifests["v1"]
    other = canonical_json({**json.loads(before), "annotations": {"a": "b"}})
    tags.world.tag(other)
    entry = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"a bundle")), "size": 8}
    listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    tags.world.memory.manifests[fallback_tag(Digest.of(other))] = canonical_json(listed)
    assert writes(tags.push(bundles=None))
    assert fallback_tag(tags.world.image.digest) in tags.world.memory.manifests


@pytest.mark.parametrize("hours", [25, -1])
def test_after_a_day_all_is_read_again(desk, hours):
    """Also if the clock went back since: a moment to come is no memory."""
    standings, standing = desk.memory()
    standings.keep(changed(standing, looked=standing.looked - 3600 * hours))
    requests = desk.push()
    assert len(requests) > 2
    assert not writes(requests)
    assert len(desk.push()) == 2


def test_another_store_or_a_damaged_memory_asks_for_everything(desk):
    (record,) = (desk.world.store.root / "records" / "registry-evidence").glob("*.json")
    text = record.read_bytes()
    record.chmod(0o600)
    record.write_bytes(text.replace(b'"tags"', b'"stamped"').replace(b'"bundles"', b'"tags"'))
    for store in (None, Store(desk.world.folder / "empty")):
        if store is not None:
            for document in (desk.world.image.manifest, desk.world.image.config):
                store.add(document)
        assert len(desk.push(store=store)) > 2
    assert len(desk.push()) == 2


def test_the_memory_of_a_repository_is_bounded(tags):
    standings, standing = tags.memory()
    for number in range(300):
        standings.keep(changed(standing, signer=f"urn:{number}"))
    (record,) = (tags.world.store.root / "records" / "registry-evidence").glob("*.json")
    assert len(json.loads(record.read_bytes())["record"]["value"]) == 256


def test_a_form_that_the_seal_lists_asks_two_things_as_well(tags):
    pushed = publish(
        Context(store=tags.world.store, progress=tags.notes, registries=tags.world.client),
        tags.world.lock, tags.world.ref, compression="zstd",
    )  # fmt: skip
    lock = replace(tags.world.lock, seal=tags.world.lock.seal.with_form(pushed.form))
    assert writes(tags.push(lock=lock, compression="zstd"))
    assert len(tags.push(lock=lock, compression="zstd")) == 2


@pytest.mark.parametrize(("form", "most"), [("tags", 37), ("bundles", 39), ("API", 37)])
def test_a_first_push_asks_nothing_twice(tmp_path, form, most):
    """Of four layers, three requests each: what is new is sent unasked, each tag is read once."""
    with made(tmp_path, form) as desk:
        desk.world.memory.manifests.clear()
        desk.world.memory.blobs.clear()
        requests = desk.push()
        assert len(requests) <= most, requests
        reads = Counter(each for each in requests if each.startswith(("GET", "HEAD")))
        twice = {each for each, times in reads.items() if times > 1}
        again = {f"GET manifests/{fallback_tag(desk.world.image.digest)}"}
        assert twice <= again, "the shared list alone is read again, right before it is written"
        assert desk.verify() == 0


def test_a_red_result_is_told_each_time(tags):
    tags.smoked("fail")
    for _ in range(3):
        tags.notes.said.clear()
        tags.push()
        assert "the last smoke test of this image FAILED" in "\n".join(tags.notes.said)


def test_an_image_that_was_not_smoked_here_says_so_each_time(tags):
    other = tags.other_store()
    for expected in (False, True):
        tags.notes.said.clear()
        requests = tags.push(store=other)
        assert (len(requests) == 2) is expected
        assert "this image was not smoked here" in "\n".join(tags.notes.said)
