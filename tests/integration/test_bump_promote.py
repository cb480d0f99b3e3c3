"""Promote against a real registry: only the tag moves, and only to what is known to be good."""

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from envbuilder.evidence.attach import PREDICATE_NOTE, attestation_tag
from envbuilder.evidence.keys import new_key
from envbuilder.evidence.signers import Signing
from envbuilder.evidence.statements import TEST_RESULT
from envbuilder.evidence.tagged import Tagged
from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.lock import spec_checksum
from envbuilder.model.pylock import dump_lock, lock_checksum, lock_path, read_lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.spec import Publish
from envbuilder.registry.client import Client
from envbuilder.smoke.report import CheckStatus, Report
from envbuilder.storage import ledger
from envbuilder.storage.build_records import BuildTexts, keep, keep_report, recall
from envbuilder.storage.ledger import LedgerEntry
from envbuilder.storage.store import Store
from envbuilder.workflow.bump.promote import promote
from envbuilder.workflow.bump.rollback import rollback
from envbuilder.workflow.signing import signing_with
from tests.contexts import context
from tests.servers.distribution import registry
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import image_of, layer_of
from tests.unit.locks import wheel

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


class Place:
    def __init__(self, folder: Path, host: str) -> None:
        self.spec = folder / "omni.yaml"
        self.store = Store(folder / "store")
        self.target = ImageRef.parse(f"{host}/{folder.name.replace('_', '-').lower()}:stable")
        self.images = [self.build(text) for text in (b"one", b"two")]

    def build(self, content: bytes, compression: str = "gzip") -> LedgerEntry:
        image = image_of([layer_of(self.store, {"opt/file": content}, "file")])
        for document in (image.manifest, image.config):
            self.store.add(document)
        wheels = (wheel("tqdm", content.hex()),)
        spec = structs.replace(small_lock().spec, publish=Publish(compression=compression))
        lock = sealed(replace(small_lock(), spec=spec, wheels=wheels), image)
        checksum = lock_checksum(lock)
        keep(self.store, checksum, BuildTexts(spec=b"", lock=dump_lock(lock).encode()))
        entry = LedgerEntry(
            time=ledger.now(),
            spec=spec_checksum(lock.spec),
            lock=checksum,
            image=image.digest,
            engine="embedded",
            good=True,
        )
        ledger.append(ledger.ledger_path(self.spec), entry)
        return entry

    def promote(
        self, entry: LedgerEntry | None = None, signing: Signing | None = None
    ) -> LedgerEntry:
        with Client.from_environment() as client:
            return promote(
                context(self.store, registries=client),
                self.spec,
                entry,
                self.target,
                signing=signing,
            )

    def tagged(self) -> Digest:
        from envbuilder.registry.images import fetch_image
        from envbuilder.registry.manifests import Platform

        with Client.from_environment() as client:
            return fetch_image(client, self.target, Platform.parse("linux/amd64")).digest


@pytest.fixture
def place(tmp_path, server):
    return Place(tmp_path, server.host)


def test_the_last_good_image_gets_the_tag_and_the_ledger_a_line(place):
    assert place.promote().image == place.images[1].image
    assert place.tagged() == place.images[1].image
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    assert [each.event for each in entries] == ["build", "build", "promote"]
    assert entries[2].note == f"as {place.target}"


def test_an_earlier_one_gets_it_back(place):
    place.promote()
    place.promote(place.images[0])
    assert place.tagged() == place.images[0].image


def test_after_a_rollback_it_is_what_was_gone_back_to(place):
    first = recall(place.store, place.images[0].lock)
    second = recall(place.store, place.images[1].lock)
    for name, data in (("omni.yaml", second.spec), ("pylock.omni.toml", second.lock)):
        (place.spec.parent / name).write_bytes(data)
    rollback(place.spec, None, store=place.store)
    assert lock_path(place.spec).read_bytes() == first.lock
    assert place.promote().image == place.images[0].image
    lock_path(place.spec).write_bytes(second.lock)  # as a checkout of the newer commit does
    assert place.promote().image == place.images[1].image
    lock_path(place.spec).unlink()
    assert place.promote().image == place.images[0].image


def test_a_form_is_listed_once_it_was_made_and_then_only_the_tag_moves(place):
    entry = place.build(b"three", "zstd:chunked")
    place.promote(entry)
    assert not lock_path(place.spec).exists()
    kept = recall(place.store, entry.lock).lock
    lock_path(place.spec).write_bytes(kept)
    place.promote(entry)
    (form,) = read_lock(lock_path(place.spec)).seal.forms
    assert place.tagged() == form.manifest != entry.image
    for blob in (entry.image, *(layer.digest for layer in form.layers)):
        place.store.discard(blob)
    place.target = replace(place.target, tag="canary")
    place.promote(entry)  # the store could not make it any more
    assert place.tagged() == form.manifest
    assert recall(place.store, entry.lock).lock == kept


def test_what_is_not_good_gets_no_tag(place):
    with pytest.raises(UsageError, match="known to be good"):
        place.promote(structs.replace(place.images[0], good=False))


def test_an_image_that_became_red_gets_no_tag(place):
    good, path = place.images[1], ledger.ledger_path(place.spec)
    ledger.append(path, structs.replace(good, good=False, smoke="tokens.video failed"))
    with pytest.raises(UsageError, match=r"newest smoke.*tokens\.video failed") as caught:
        place.promote(good)
    assert "history" in caught.value.hint
    assert place.promote().image == place.images[0].image
    ledger.append(path, good)
    assert place.promote().image == good.image


def test_a_lock_that_nobody_has(place):
    unknown = structs.replace(place.images[1], lock=Digest.of(b"another"))
    with pytest.raises(LockError, match="neither the store nor git"):
        place.promote(unknown)


def test_a_lock_that_was_sealed_anew(place):
    other = structs.replace(place.images[1], image=place.images[0].image)
    with pytest.raises(LockError, match="sealed anew"):
        place.promote(other)


def test_evidence_lies_there_before_the_tag_moves(place, tmp_path):
    store, image = place.store, place.images[1].image
    report = Report(subject="small", verdict=CheckStatus.PASS, summary="fine", checks=())
    keep_report(store, image, report.to_dict())
    private, _ = new_key(tmp_path / "ci")
    place.promote(signing=signing_with(str(private)))
    with Client.from_environment() as client:
        layers = Tagged(client.repository(place.target), attestation_tag(image)).layers
    assert TEST_RESULT in {layer.annotations[PREDICATE_NOTE] for layer in layers}
