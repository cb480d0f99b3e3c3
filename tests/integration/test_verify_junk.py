"""Documents with members of any type beside a good image: they count for nothing.

Neither ``verify`` nor a signed push may stumble over what anyone who may push has left there.
"""

import base64
import json
from datetime import UTC, datetime

import pytest

from envbuilder.evidence import dsse
from envbuilder.evidence.attach import (
    BUNDLE_TYPE,
    PREDICATE_NOTE,
    SIGNATURE_NOTE,
    SIGNING_TYPE,
    attestation_tag,
    signature_tag,
)
from envbuilder.evidence.bundle import key_bundle
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.signers import KeySigner, Signing
from envbuilder.evidence.standing import Standings
from envbuilder.evidence.statements import provenance
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.stating import Stating
from envbuilder.evidence.tagged import Tagged
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.policy import Policy
from envbuilder.model.image import OCI_INDEX, OCI_MANIFEST, canonical_json
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.referrers import fallback_tag
from envbuilder.smoke.report import Check, CheckStatus, Report
from tests.junk import spoilt

pytestmark = pytest.mark.integration

FULL = Policy(required=("test-result", "provenance", "sbom", "signature"))
STAMPED = {
    "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": "MAA="}]},
    "tlogEntries": [{"integratedTime": "1767323045", "inclusionPromise": {"x": "x"}}],
}
PLAIN = {"critical": {"image": {"docker-manifest-digest": "x"}, "identity": {}, "type": "x"}}


@pytest.fixture
def world(attacked_world):
    """All evidence stands there, in tags; what else lies there is read all the same."""
    push(attacked_world)
    return attacked_world


def statements(world):
    now, image = datetime.now(UTC).isoformat(timespec="seconds"), world.image.digest
    checks = (Check(name="tokens", status=CheckStatus.PASS),)
    report = Report(subject="s", verdict=CheckStatus.PASS, summary="x", checks=checks).to_dict()
    return [
        smoke_result(world.lock, image, report, finished=now),
        provenance(world.lock, image, engine="embedded", finished=now),
        sbom(world.lock, image, finished=now),
    ]


def push(world):
    stating = Stating(
        repository=world.repository,
        image=Manifest(body=world.image.manifest, media_type=world.image.media_type),
        signing=Signing(signer=KeySigner(key=world.key()[0]), bundles=False),
        standings=Standings(world.store, world.repository),
        progress=Silent(),
    )
    stating.attach(statements(world))


def holds(world):
    """See that the image verifies, that pushing it again works, and that it verifies then."""
    before = world.verify(Level.EVIDENCE, FULL)
    assert before.exit_code == 0, before.findings
    push(world)
    assert world.verify(Level.EVIDENCE, FULL).exit_code == 0


def refer(world, manifests):
    """List so many manifests before what is listed."""
    tag = fallback_tag(world.image.digest)
    index = json.loads(world.memory.manifests.get(tag, b'{"manifests": []}'))
    for body in manifests:
        digest = str(Digest.of(body))
        world.memory.manifests[digest] = body
        entry = {"mediaType": OCI_MANIFEST, "artifactType": BUNDLE_TYPE}
        index["manifests"].insert(0, {**entry, "digest": digest, "size": len(body)})
    content = {"schemaVersion": 2, "mediaType": OCI_INDEX, **index}
    world.memory.manifests[tag] = canonical_json(content)


def put_before(world, tag, layers):
    """Have ``layers`` stand under a tag before those that are there."""
    there = json.loads(world.memory.manifests.get(tag, b'{"layers": []}'))
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **world.blob(b"{}")}
    world.memory.manifests[tag] = canonical_json(
        {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config,
            "layers": [*layers, *there["layers"]],
        }
    )  # fmt: skip


def referrer(world, bundle):
    return {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": BUNDLE_TYPE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **world.blob(b"{}")},
        "layers": [{"mediaType": BUNDLE_TYPE, **world.blob(bundle), "annotations": {"x": "x"}}],
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(world.image.digest), "size": 1},
        "annotations": {"x": "x"},
    }  # fmt: skip


def envelope(world, payload=None, key="other"):
    return dsse.sign(payload or statements(world)[0].payload("app"), world.key(key)[0])


def test_referrers(world):
    refer(world, spoilt(referrer(world, b"{}")))
    holds(world)


def test_entries_of_a_listing(world):
    tag = fallback_tag(world.image.digest)
    body = referrer(world, b"{}")
    refer(world, [json.dumps(body).encode()])
    index = json.loads(world.memory.manifests[tag])
    entry = {**index["manifests"][0], "platform": {"os": "x", "os.features": ["x"]}}
    entry["annotations"] = {"x": "x"}
    head = b'{"schemaVersion": 2, "mediaType": "%s", "manifests": [' % OCI_INDEX.encode()
    listed = [*spoilt(entry), json.dumps(index["manifests"][0]).encode()]
    world.memory.manifests[tag] = head + b",".join(listed) + b"]}"
    holds(world)


def test_bundles(world):
    """Around an envelope of ours, which anyone can copy."""
    whole = json.loads(key_bundle(envelope(world, key="mine"), world.key()[1]))
    whole["verificationMaterial"] |= STAMPED
    refer(world, (json.dumps(referrer(world, each)).encode() for each in spoilt(whole)))
    holds(world)


@pytest.mark.parametrize("key", ["mine", "other"])
def test_envelopes(world, key):
    layers = [
        {"mediaType": dsse.ENVELOPE_TYPE, **world.blob(each),
         "annotations": {PREDICATE_NOTE: statements(world)[0].predicate_type}}
        for each in spoilt(json.loads(envelope(world, key=key)))
    ]  # fmt: skip
    put_before(world, attestation_tag(world.image.digest), layers)
    holds(world)


def test_what_our_key_signed_for_another_purpose_is_no_damaged_signature(world):
    """Its signatures of envelopes, and of documents of any shape, can be put there by anyone."""
    ours = json.loads(envelope(world, key="mine"))
    encoded = dsse._encoded(base64.b64decode(ours["payload"]))
    taken = [(encoded, ours["signatures"][0]["sig"])]
    taken += [(each, dsse.sign_bytes(each, world.key()[0])) for each in spoilt(PLAIN)]
    layers = [
        {"mediaType": SIGNING_TYPE, **world.blob(data), "annotations": {SIGNATURE_NOTE: signature}}
        for data, signature in taken
    ]
    put_before(world, signature_tag(world.image.digest), layers)
    holds(world)


def test_what_stands_in_place_of_a_tag(world):
    whole = {**referrer(world, b"{}"), "annotations": {"x": "x"}}
    for body in spoilt(whole):
        world.memory.manifests["junk"] = body
        assert len(Tagged(world.repository, "junk").layers) <= 1
