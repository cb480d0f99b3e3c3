"""A table of attacks on evidence: by those who may push, with and without old statements of ours.

The newest result by a trusted key decides, in whatever form it stands; what others attach changes
nothing. 9 says that evidence is missing or bad, 10 that we could not look.
"""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from envbuilder.evidence import dsse
from envbuilder.evidence.attach import (
    BUNDLE_NOTE,
    BUNDLE_TYPE,
    SIGNATURE_NOTE,
    SIGNING_TYPE,
    attach,
    attach_bundles,
    attestation_tag,
    sign,
    signature_tag,
)
from envbuilder.evidence.keyring import Keyring, TrustedKey
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.signers import KeySigner
from envbuilder.evidence.statements import SIGNED, TEST_RESULT, Statement, provenance
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.policy import Policy
from envbuilder.model.image import OCI_INDEX, OCI_MANIFEST, canonical_json
from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.referrers import fallback_tag
from envbuilder.smoke.report import Check, CheckStatus, Report
from tests.servers.attacked import Attacked
from tests.servers.counting import counted

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
FULL = Policy(required=("test-result", "provenance", "sbom", "signature"))
SIGNATURE = Policy(required=("signature",))


def result(world, verdict="pass", *, hours=0.0, image=None, lock=None, check="tokens.image"):
    """State a smoke result of some hours ago."""
    moment = (NOW - timedelta(hours=hours)).isoformat(timespec="seconds")
    checks = (Check(name=check, status=CheckStatus(verdict)),)
    report = Report(subject="small", verdict=CheckStatus(verdict), summary="x", checks=checks)
    subject = image or world.image.digest
    return smoke_result(lock or world.lock, subject, report.to_dict(), finished=moment)


def in_tag(world, *statements, key="mine"):
    attach(world.repository, world.image.digest, statements, world.key(key)[0])


def in_bundles(world, *statements, key="mine"):
    manifest = Manifest(body=world.image.manifest, media_type=world.image.media_type)
    attach_bundles(world.repository, manifest, statements, KeySigner(key=world.key(key)[0]))


def replayed(world, *statements, key="mine"):
    """Put old envelopes of ours beside the new ones, as someone does who kept them."""
    tag = attestation_tag(world.image.digest)
    content = json.loads(world.memory.manifests.get(tag, b'{"layers":[]}'))
    for statement in statements:
        envelope = dsse.sign(statement.payload("app"), world.key(key)[0])
        notes = {"predicateType": statement.predicate_type}
        entry = {"mediaType": dsse.ENVELOPE_TYPE, **world.blob(envelope), "annotations": notes}
        content["layers"].append(entry)
    documents(world, tag, content["layers"])


def documents(world, tag, layers):
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **world.blob(b"{}")}
    world.memory.manifests[tag] = canonical_json(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    )


def junk_at(tag, body):
    def apply(world):
        in_bundles(world, result(world))
        world.memory.manifests[tag(world.image.digest)] = body

    return apply


def junk_referrers(world, body, count=64, **more):
    """List so many junk bundles before ours."""
    in_bundles(world, result(world))
    tag = fallback_tag(world.image.digest)
    index = json.loads(world.memory.manifests[tag])
    entry = {"mediaType": OCI_MANIFEST, "artifactType": BUNDLE_TYPE,
             "annotations": {BUNDLE_NOTE: TEST_RESULT}}  # fmt: skip
    junk = []
    for number in range(count):
        content = body.replace(b"NUMBER", str(number).encode())
        digest = str(Digest.of(content))
        world.memory.manifests[digest] = content
        junk.append({**entry, "digest": digest, "size": len(content), **more})
    index["manifests"] = [*junk, *index["manifests"]]
    world.memory.manifests[tag] = json.dumps(index).encode()


def bundle_of(world, document, **more):
    blob = world.blob(document)
    content = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": BUNDLE_TYPE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **world.blob(b"{}")},
        "layers": [{"mediaType": BUNDLE_TYPE, **blob}],
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(world.image.digest), "size": 1},
        **more,
    }  # fmt: skip
    return json.dumps(content).encode()


def tampered(change):
    """Attach our own result with its envelope changed."""

    def apply(world):
        envelope = json.loads(dsse.sign(result(world).payload("app"), world.key()[0]))
        change(envelope)
        tag = attestation_tag(world.image.digest)
        notes = {"predicateType": TEST_RESULT}
        entry = {"mediaType": dsse.ENVELOPE_TYPE, **world.blob(canonical_json(envelope))}
        documents(world, tag, [{**entry, "annotations": notes}])

    return apply


def repainted(envelope):
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["predicate"]["result"] = "PASSED"
    payload["predicate"]["note"] = "x"
    envelope["payload"] = base64.b64encode(canonical_json(payload)).decode()


def relabelled(world):
    """Name a statement of another kind a test result in its annotations."""
    stated = provenance(world.lock, world.image.digest, engine="e", finished=NOW.isoformat())
    envelope = dsse.sign(stated.payload("app"), world.key()[0])
    entry = {"mediaType": dsse.ENVELOPE_TYPE, **world.blob(envelope)}
    tag = attestation_tag(world.image.digest)
    documents(world, tag, [{**entry, "annotations": {"predicateType": TEST_RESULT}}])


def undated(world, verdict="pass"):
    stated = result(world, verdict)
    return Statement(
        subject=stated.subject,
        predicate_type=stated.predicate_type,
        predicate={**stated.predicate, "finishedOn": "yesterday"},
    )


TIMELESS = b"""{"dsseEnvelope": {}, "verificationMaterial": {"tlogEntries": [
    {"inclusionPromise": {"x": 1}, "integratedTime": 100000000000000000}]}}"""


RESULTS = {
    "passed, in a tag": (lambda w: in_tag(w, result(w)), 0),
    "passed, in a bundle": (lambda w: in_bundles(w, result(w)), 0),
    "nothing": (Attacked.reset, 9),
    "failed, in a tag": (lambda w: in_tag(w, result(w, "fail")), 9),
    "failed, in a bundle": (lambda w: in_bundles(w, result(w, "fail")), 9),
    "skipped": (lambda w: in_tag(w, result(w, "skip")), 9),
    "passed, then failed: bundles": (
        lambda w: in_bundles(w, result(w, hours=2), result(w, "fail", hours=1)), 9),
    "failed, then passed: bundles": (
        lambda w: in_bundles(w, result(w, "fail", hours=2), result(w, hours=1)), 0),
    "passed, then failed: listed the other way": (
        lambda w: in_bundles(w, result(w, "fail", hours=1), result(w, hours=2)), 9),
    "passed in a tag, then failed in a bundle": (
        lambda w: (in_tag(w, result(w, hours=2)), in_bundles(w, result(w, "fail", hours=1))), 9),
    "passed in a bundle, then failed in a tag": (
        lambda w: (in_bundles(w, result(w, hours=2)), in_tag(w, result(w, "fail", hours=1))), 9),
    "failed in a bundle, then passed in a tag": (
        lambda w: (in_bundles(w, result(w, "fail", hours=2)), in_tag(w, result(w, hours=1))), 0),
    "both at once": (lambda w: in_bundles(w, result(w), result(w, "fail")), 9),
    "an old pass replayed after a failure": (
        lambda w: (in_tag(w, result(w, "fail", hours=1)), replayed(w, result(w, hours=9))), 9),
    "an old failure replayed after a pass": (
        lambda w: (in_tag(w, result(w, hours=1)), replayed(w, result(w, "fail", hours=9))), 0),
    "an old pass replayed as a bundle": (
        lambda w: (in_tag(w, result(w, "fail", hours=1)), in_bundles(w, result(w, hours=9))), 9),
    "a stranger's pass": (lambda w: in_tag(w, result(w), key="other"), 9),
    "a stranger's newer failure": (
        lambda w: (in_tag(w, result(w, hours=2)), in_tag(w, result(w, "fail"), key="other")), 0),
    "a stranger's newer pass": (
        lambda w: (in_tag(w, result(w, "fail", hours=2)), in_bundles(w, result(w), key="other")),
        9),
    "a pass of another image": (
        lambda w: in_tag(w, result(w, image=Digest.of(b"other"))), 9),
    "a newer failure of another image": (
        lambda w: (in_tag(w, result(w, hours=1)),
                   in_bundles(w, result(w, "fail", image=Digest.of(b"other")))), 0),
    "from the future": (lambda w: in_tag(w, result(w, hours=-2)), 9),
    "without a date": (lambda w: in_tag(w, undated(w)), 9),
    "a failure without a date beside a pass": (
        lambda w: (in_tag(w, result(w)), in_bundles(w, undated(w, "fail"))), 0),
    "a pass without a date beside a failure": (
        lambda w: (in_tag(w, result(w, "fail")), in_bundles(w, undated(w))), 9),
    "a changed payload": (tampered(repainted), 9),
    "another payload type": (tampered(lambda e: e.update(payloadType="text/plain")), 9),
    "no signature": (tampered(lambda e: e.update(signatures=[])), 9),
    "a signature that is none": (tampered(lambda e: e["signatures"][0].update(sig="x")), 9),
    "many signatures before ours": (
        tampered(lambda e: e.update(signatures=[{"sig": "AA=="}] * 40 + e["signatures"])), 9),
    "another kind under this name": (relabelled, 9),
    "an index in place of the tag": (junk_at(
        attestation_tag, b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % OCI_INDEX.encode()
    ), 0),
    "no JSON in place of the tag": (junk_at(attestation_tag, b"<html>"), 0),
    "a list in place of the tag": (junk_at(attestation_tag, b"[]"), 0),
    "a manifest without layers in place of the tag": (
        junk_at(attestation_tag, b'{"schemaVersion":2,"layers":"x"}'), 0),
    "64 junk referrers": (lambda w: junk_referrers(w, b"junk NUMBER"), 0),
    "64 manifests without a subject": (
        lambda w: junk_referrers(w, b'{"schemaVersion":2,"layers":[],"n":NUMBER}'), 0),
    "64 of another kind": (lambda w: junk_referrers(w, b"junk NUMBER", artifactType="x"), 0),
    "entries that are none": (lambda w: junk_referrers(w, b"junk NUMBER", digest="x"), 0),
    "huge manifests": (lambda w: junk_referrers(w, b"junk NUMBER", size=1 << 40), 0),
    "bundles that are no JSON": (lambda w: junk_referrers(w, bundle_of(w, b"<html>")), 0),
    "bundles of a list": (lambda w: junk_referrers(w, bundle_of(w, b"[]"), 1), 0),
    "bundles about something else": (
        lambda w: junk_referrers(w, bundle_of(w, b"{}", subject={"digest": "x"}), 1), 0),
    "bundles that claim another size": (
        lambda w: junk_referrers(
            w, bundle_of(w, b"{}", layers=[{"mediaType": BUNDLE_TYPE, **w.blob(b"xy"), "size": 9}])
        ), 0),
    "manifests of a type that is none": (
        lambda w: junk_referrers(w, bundle_of(w, b"{}", artifactType=[]), 1), 0),
    "bundles of no moment": (lambda w: junk_referrers(w, bundle_of(w, TIMELESS), 1), 0),
    "more than can be read": (lambda w: junk_referrers(w, b"junk NUMBER", 1100), 10),
}  # fmt: skip


@pytest.mark.parametrize(
    ("apply", "code"), [pytest.param(*row, id=name) for name, row in RESULTS.items()]
)
def test_the_newest_result_decides(attacked_world, apply, code):
    apply(attacked_world)
    verdict = attacked_world.verify(Level.EVIDENCE)
    assert verdict.exit_code == code, verdict.findings[-1]


def everything(world, hours=0.0):
    moment = (NOW - timedelta(hours=hours)).isoformat(timespec="seconds")
    digest = world.image.digest
    return [
        result(world, hours=hours),
        provenance(world.lock, digest, engine="embedded", finished=moment),
        sbom(world.lock, digest, finished=moment),
    ]


def signed(world):
    return Statement(subject=world.image.digest, predicate_type=SIGNED, predicate={})


def signature_of_another(world):
    sign(world.repository, Digest.of(b"other"), world.key()[0])
    manifests = world.memory.manifests
    manifests[signature_tag(world.image.digest)] = manifests[signature_tag(Digest.of(b"other"))]


def envelope_for_a_signature(world):
    """Put what our key signed in an envelope, with that signature, before the one of the image."""
    sign(world.repository, world.image.digest, world.key()[0])
    payload = result(world).payload("app")
    ours = json.loads(dsse.sign(payload, world.key()[0]))["signatures"][0]["sig"]
    tag = signature_tag(world.image.digest)
    entry = {"mediaType": SIGNING_TYPE, **world.blob(dsse._encoded(payload))}
    layers = json.loads(world.memory.manifests[tag])["layers"]
    documents(world, tag, [{**entry, "annotations": {SIGNATURE_NOTE: ours}}, *layers])


POLICIES = {
    "all in tags": (
        lambda w: (in_tag(w, *everything(w)), sign(w.repository, w.image.digest, w.key()[0])),
        FULL, 0),
    "all in bundles": (lambda w: in_bundles(w, *everything(w), signed(w)), FULL, 0),
    "no signature": (lambda w: in_tag(w, *everything(w)), FULL, 9),
    "no result": (
        lambda w: (in_tag(w, *everything(w)[1:]), sign(w.repository, w.image.digest, w.key()[0])),
        FULL, 9),
    "a signature": (lambda w: sign(w.repository, w.image.digest, w.key()[0]), SIGNATURE, 0),
    "a stranger's signature": (
        lambda w: sign(w.repository, w.image.digest, w.key("other")[0]), SIGNATURE, 9),
    "a stranger's signature in a bundle": (
        lambda w: in_bundles(w, signed(w), key="other"), SIGNATURE, 9),
    "another image's signature": (signature_of_another, SIGNATURE, 9),
    "what our key signed for another purpose": (envelope_for_a_signature, SIGNATURE, 0),
    "junk in place of signatures": (
        lambda w: w.memory.manifests.update({signature_tag(w.image.digest): b"<html>"}),
        SIGNATURE, 9),
    "a result is no signature": (lambda w: in_bundles(w, result(w)), SIGNATURE, 9),
    "a check that passed": (lambda w: in_tag(w, result(w)), Policy(checks=("tokens",)), 0),
    "a check that is not named": (lambda w: in_tag(w, result(w)), Policy(checks=("gpu",)), 9),
    "a check of a longer name": (
        lambda w: in_tag(w, result(w, check="tokens2")), Policy(checks=("tokens",)), 9),
    "a newer result without the check": (
        lambda w: in_bundles(w, result(w, hours=2), result(w, check="gpu")),
        Policy(checks=("tokens",)), 9),
    "young enough": (lambda w: in_tag(w, *everything(w, 23)), Policy(max_age_days=1), 0),
    "too old": (lambda w: in_tag(w, *everything(w, 25)), Policy(max_age_days=1), 9),
}  # fmt: skip


@pytest.mark.parametrize(
    ("apply", "policy", "code"), [pytest.param(*row, id=name) for name, row in POLICIES.items()]
)
def test_a_policy_means_what_it_says(attacked_world, apply, policy, code):
    apply(attacked_world)
    verdict = attacked_world.verify(Level.EVIDENCE, policy)
    assert verdict.exit_code == code, verdict.findings


@pytest.mark.parametrize(
    ("signer", "hours", "code"),
    [("mine", 0, 0), ("old", 5, 0), ("old", 1, 9), ("other", 0, 9)],
)
def test_a_key_that_retires(attacked_world, signer, hours, code):
    """What the old key signed before it retired counts; what it dates later does not."""
    old = TrustedKey(key=attacked_world.key("old")[1], until=NOW - timedelta(hours=3))
    keyring = Keyring(keys=(TrustedKey(key=attacked_world.key()[1]), old))
    in_tag(attacked_world, result(attacked_world, hours=hours), key=signer)
    assert attacked_world.verify(Level.EVIDENCE, keyring=keyring).exit_code == code


def test_the_newest_result_of_any_trusted_key_decides(attacked_world):
    keyring = Keyring.of(attacked_world.key()[1], attacked_world.key("second")[1])
    in_tag(attacked_world, result(attacked_world, hours=2))
    in_tag(attacked_world, result(attacked_world, "fail", hours=1), key="second")
    assert attacked_world.verify(Level.EVIDENCE, keyring=keyring).exit_code == 9
    assert attacked_world.verify(Level.EVIDENCE).exit_code == 0


@pytest.mark.parametrize("put", [in_tag, in_bundles])
def test_one_result_costs_little(attacked_world, put):
    """Only what is asked for is fetched: beside the image itself 5 requests, 40 KB in all."""
    put(attacked_world, *everything(attacked_world))
    with counted(attacked_world.ref.registry) as relay:
        ref = attacked_world.ref
        attacked_world.ref = type(ref).parse(str(ref).replace(ref.registry, relay.host))
        try:
            before = attacked_world.verify()
            requests, received = len(relay.requests), relay.received
            after = attacked_world.verify(Level.EVIDENCE)
        finally:
            attacked_world.ref = ref
    assert (before.exit_code, after.exit_code) == (0, 0)
    assert len(relay.requests) - 2 * requests <= 5, relay.requests
    assert relay.received - received <= 40_000
