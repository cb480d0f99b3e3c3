"""A Sigstore bundle is read as a stranger may have written it; and when a statement was signed."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from envbuilder.evidence import dsse
from envbuilder.evidence.bundle import BUNDLE_TYPE, Document, key_bundle, parse_bundle
from envbuilder.evidence.keyring import Keyring, Opened, Refused, TrustedKey
from envbuilder.evidence.read import Evidence
from envbuilder.evidence.statements import TEST_RESULT, Statement, moment_of
from envbuilder.model.reference import Digest

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class At:
    """A clock that believes one stamp."""

    def moment(self, _signature, stamps):
        return NOW if b"good" in stamps else None


def test_what_is_written_is_read():
    envelope = dsse.sign(b"{}", KEY)
    found = parse_bundle(key_bundle(envelope, KEY.public_key(), (b"one", b"two")))
    assert (found.envelope, found.stamps, found.logged) == (envelope, (b"one", b"two"), None)
    plain = json.loads(key_bundle(envelope, KEY.public_key()))
    assert plain["mediaType"] == BUNDLE_TYPE
    assert set(plain["verificationMaterial"]) == {"publicKey"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"{}", b'"x"', b"1", b'{"dsseEnvelope": ' + b"[" * 100_000,
        b'{"dsseEnvelope": {}, "verificationMaterial": 1}',
        b'{"dsseEnvelope": {}, "verificationMaterial": {"timestampVerificationData": 1}}',
        b'{"dsseEnvelope": {}, "verificationMaterial": {"tlogEntries": [1]}}',
        b'{"dsseEnvelope": {}, "verificationMaterial": {"tlogEntries": [{"inclusionPromise": 1,'
        b'"integratedTime": "99999999999999999999"}]}}',
        b'{"dsseEnvelope": {}, "verificationMaterial": {"tlogEntries": [{"inclusionPromise":'
        b'{"x": 1}, "integratedTime": 100000000000000000}]}}',
    ],
)  # fmt: skip
def test_junk_is_no_bundle(body):
    assert parse_bundle(body) is None


@pytest.mark.parametrize(
    ("entry", "moment"),
    [
        ({"integratedTime": "1767323045", "inclusionPromise": {"signedEntryTimestamp": "x"}}, NOW),
        ({"integratedTime": "1767323045"}, None),
        ({"inclusionPromise": {"signedEntryTimestamp": "x"}}, None),
    ],
)
def test_a_log_tells_the_time_by_its_promise_alone(entry, moment):
    content = {"dsseEnvelope": {}, "verificationMaterial": {"tlogEntries": [entry]}}
    assert parse_bundle(json.dumps(content).encode()).logged == moment


def test_a_keyring_opens_what_one_of_it_signed():
    document = Document(envelope=dsse.sign(b"{}", KEY))
    opened = Keyring.of(OTHER.public_key(), KEY.public_key()).open(document)
    assert isinstance(opened, Opened)
    assert (opened.payload, opened.since) == (b"{}", None)
    assert [each.key for each in opened.signers] == [KEY.public_key()]
    assert Keyring.of(OTHER.public_key()).open(document) == Refused()


def test_where_a_clock_is_asked_only_what_is_stamped_counts():
    ring = Keyring(keys=(TrustedKey(key=KEY.public_key(), clock=At()),))
    envelope = dsse.sign(b"{}", KEY)
    assert ring.open(Document(envelope=envelope)) == Refused(why="has no valid time stamp")
    assert ring.open(Document(envelope=envelope, stamps=(b"bad",))).why
    assert ring.open(Document(envelope=envelope, stamps=(b"bad", b"good"))).since == NOW
    signature = dsse.sign_bytes(b"x", KEY)
    assert Keyring.of(KEY.public_key()).signed(b"x", signature)
    assert not ring.signed(b"x", signature), "a tag has no room for a stamp"


def test_a_signature_is_found_among_those_of_strangers():
    content = json.loads(dsse.sign(b"{}", KEY))
    ours = content["signatures"][0]
    content["signatures"] = [{"sig": base64.b64encode(b"x").decode()}, ours]
    opened = dsse.opened_with(json.dumps(content).encode(), KEY.public_key())
    assert opened == (b"{}", base64.b64decode(ours["sig"]))


def stated(result, claims, since=None):
    return Statement(
        subject=Digest.of(b"image"),
        predicate_type=TEST_RESULT,
        predicate={"result": result, "finishedOn": (NOW - timedelta(hours=claims)).isoformat()},
        since=None if since is None else NOW - timedelta(hours=since),
    )


def test_a_stamp_tells_the_time_and_of_several_the_first():
    passed, failed = stated("PASSED", 5, since=5), stated("FAILED", 9, since=2)
    again = stated("PASSED", 5, since=0)
    assert moment_of(failed) == NOW - timedelta(hours=2)
    for order in ((passed, failed, again), (again, failed, passed), (failed, again, passed)):
        found = Evidence(statements=order).by_type(TEST_RESULT)
        assert found == (passed, failed)
