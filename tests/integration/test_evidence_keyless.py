"""Signatures by an identity: made through a private Sigstore, read by us and by stock cosign."""

import base64
import copy
import json
import re
import time
from datetime import timedelta

import pytest

from envbuilder.evidence.attach import attach_bundles
from envbuilder.evidence.bundle import BUNDLE_TYPE, Document, parse_bundle
from envbuilder.evidence.identities import TrustedIdentity, UntrustedError, read_root
from envbuilder.evidence.keyless import open_signer
from envbuilder.evidence.statements import Statement
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.model.errors import NetworkError
from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import Manifest
from envbuilder.smoke.report import CheckStatus, Report
from tests.servers.attacked import attacked
from tests.servers.sigstore import IDENTITY, ISSUER, Sigstore, sigstore, token

pytestmark = pytest.mark.integration

REPORT = Report(subject="small", verdict=CheckStatus.PASS, summary="all good", checks=())
PAYLOAD = Statement(subject=Digest.of(b"x"), predicate_type="x", predicate={}).payload("x")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("attacked")) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with sigstore(tmp_path_factory.mktemp("sigstore") / "stamps") as instance:
        yield instance


@pytest.fixture(scope="module")
def instance(running) -> Sigstore:
    return running[0]


@pytest.fixture(scope="module")
def home(instance, tmp_path_factory):
    """A folder with the trust configuration, the root and a token."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "config.json").write_text(json.dumps(instance.config()))
    (folder / "root.json").write_text(json.dumps(instance.root()))
    (folder / "token").write_text(token())
    return folder


@pytest.fixture(scope="module")
def environ(home):
    return {"ENVBUILDER_TRUST_CONFIG": str(home / "config.json")}


@pytest.fixture(scope="module")
def signer(home, environ):
    return open_signer(str(home / "token"), environ)


@pytest.fixture(scope="module")
def bundle(signer) -> bytes:
    return signer.bundle(PAYLOAD)


def trusted(home, **more) -> TrustedIdentity:
    known = {"identity": IDENTITY, "issuer": ISSUER, "root": read_root(home / "root.json")}
    return TrustedIdentity(**{**known, **more})


def document(bundle: bytes) -> Document:
    found = parse_bundle(bundle)
    assert found is not None
    return found


def test_what_is_signed_is_proven_by_who_signed_it(signer, bundle, home):
    proof = trusted(home).prove(document(bundle))
    assert proof.payload == PAYLOAD
    assert abs(proof.since.timestamp() - time.time()) < 60
    assert signer.name == IDENTITY
    assert json.loads(bundle)["mediaType"] == BUNDLE_TYPE


def in_bundles(world, signer, *statements):
    manifest = Manifest(body=world.image.manifest, media_type=world.image.media_type)
    attach_bundles(world.repository, manifest, statements, signer)


def result(world, verdict="pass", finished="2026-01-02T03:04:05Z"):
    report = Report(subject="small", verdict=CheckStatus(verdict), summary="x", checks=()).to_dict()
    return smoke_result(world.lock, world.image.digest, report, finished=finished)


# -- what does not hold -------------------------------------------------------------------------


def entry_of(content):
    return content["verificationMaterial"]["tlogEntries"][0]


def payload_of(content, payload):
    content["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


def another_entry(instance, content):
    """Take the proof of an older entry of the log, which is sound in itself."""
    entry = instance.entry(1)
    proof = entry["verification"]["inclusionProof"]
    entry_of(content)["inclusionProof"].update(
        logIndex=str(proof["logIndex"]),
        hashes=[base64.b64encode(bytes.fromhex(each)).decode() for each in proof["hashes"]],
        rootHash=base64.b64encode(bytes.fromhex(proof["rootHash"])).decode(),
        treeSize=str(proof["treeSize"]),
        checkpoint={"envelope": proof["checkpoint"]},
    )


BENT = {
    "another payload": lambda _, c: payload_of(c, PAYLOAD.replace(b"x", b"y")),
    "another signature": lambda _, c: c["dsseEnvelope"]["signatures"][0].update(sig="AAAA"),
    "no signature": lambda _, c: c["dsseEnvelope"].update(signatures=[]),
    "another payload type": lambda _, c: c["dsseEnvelope"].update(payloadType="text/plain"),
    "no log entry": lambda _, c: c["verificationMaterial"].update(tlogEntries=[]),
    "no proof of inclusion": lambda _, c: entry_of(c).pop("inclusionProof"),
    "no checkpoint": lambda _, c: entry_of(c)["inclusionProof"].pop("checkpoint"),
    "a proof of another root": lambda _, c: entry_of(c)["inclusionProof"].update(
        rootHash=base64.b64encode(bytes(32)).decode()),
    "a proof of another entry": another_entry,
    "a promise of another moment": lambda _, c: entry_of(c).update(integratedTime="1700000000"),
    "neither promise nor stamp": lambda _, c: (
        entry_of(c).pop("inclusionPromise"),
        c["verificationMaterial"].pop("timestampVerificationData")),
    "an entry of another body": lambda i, c: entry_of(c).update(
        canonicalizedBody=base64.b64encode(i.entries[0] + b" ").decode()),
    "no certificate": lambda _, c: c["verificationMaterial"].pop("certificate"),
    "a key in place of the certificate": lambda _, c: c.update(
        verificationMaterial={"publicKey": {"hint": "x"}}),
    "a certificate that is none": lambda _, c: c["verificationMaterial"]["certificate"].update(
        rawBytes="AAAA"),
    "the CA's certificate": lambda i, c: c["verificationMaterial"]["certificate"].update(
        rawBytes=i.root()["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"]),
    "an unknown version": lambda _, c: c.update(mediaType=BUNDLE_TYPE.replace("0.3", "9.9")),
    "no material": lambda _, c: c.pop("verificationMaterial"),
}  # fmt: skip


@pytest.mark.parametrize("name", BENT)
def test_a_bent_bundle_proves_nothing(instance, signer, bundle, home, name):
    signer.bundle(PAYLOAD)  # another entry in the log
    content = json.loads(bundle)
    BENT[name](instance, content)
    found = parse_bundle(json.dumps(content).encode())
    if found is not None:
        with pytest.raises(UntrustedError):
            trusted(home).prove(found)


@pytest.mark.parametrize("part", ["certificateAuthorities", "tlogs", "ctlogs"])
def test_another_root_believes_nothing(bundle, instance, home, tmp_path, part):
    """The very bundle, by a root that knows another CA, log or CT log."""
    root = copy.deepcopy(instance.root())
    root[part] = Sigstore(stamps=instance.stamps).root()[part]
    (tmp_path / "root.json").write_text(json.dumps(root))
    with pytest.raises(UntrustedError):
        trusted(home, root=read_root(tmp_path / "root.json")).prove(document(bundle))


@pytest.mark.parametrize(
    ("who", "holds"),
    [
        ({}, True),
        ({"identity": IDENTITY + "x"}, False),
        ({"identity": IDENTITY[:-1]}, False),
        ({"identity": IDENTITY.upper()}, False),
        ({"identity": ".*"}, False),
        ({"issuer": ISSUER + "/"}, False),
        ({"issuer": "https://other.example.com"}, False),
        ({"issuer": ".*"}, False),
        ({"pattern": r"https://ci\.example\.com/acme/.*"}, True),
        ({"pattern": r"https://ci\.example\.com/acme"}, False),
        ({"pattern": r"acme/envs/.*"}, False),
        ({"pattern": r"x|https://ci\.example\.com/acme"}, False),
        ({"pattern": r".*", "issuer": "https://other.example.com"}, False),
    ],
)
def test_only_the_very_name_by_the_very_issuer(bundle, home, who, holds):
    pattern = {"pattern": re.compile(who["pattern"])} if "pattern" in who else {}
    identity = trusted(home, **{**who, **pattern})
    if holds:
        assert identity.prove(document(bundle)).payload == PAYLOAD
    else:
        with pytest.raises(UntrustedError):
            identity.prove(document(bundle))


def test_a_certificate_that_was_too_old_when_it_signed(instance, home, environ):
    """The log and the stamps say when it was, so an old certificate is of no use."""
    instance.age = timedelta(minutes=11)
    try:
        with pytest.raises(NetworkError, match="Expired Certificate"):
            open_signer(str(home / "token"), environ).bundle(PAYLOAD)
    finally:
        instance.age = timedelta()
    content = json.loads(open_signer(str(home / "token"), environ).bundle(PAYLOAD))
    # Logged an hour later than it was certified: sound in all its parts, but for the moment.
    late = instance.entry(len(instance.entries) - 1, moment=int(time.time()) + 3600)
    entry_of(content)["integratedTime"] = str(late["integratedTime"])
    entry_of(content)["inclusionPromise"] = {
        "signedEntryTimestamp": late["verification"]["signedEntryTimestamp"]
    }
    with pytest.raises(UntrustedError, match="certificate"):
        trusted(home).prove(document(json.dumps(content).encode()))


def test_what_stands_twice_moves_no_moment(bundle, home):
    """Other spellings and repetitions of a member: one reader takes the first, one the last."""
    entry = '"integratedTime":'
    early = bundle.decode().replace(entry, '"integrated_time":"1700000000","integratedTime":', 1)
    twice = bundle.decode().replace(entry, '"integratedTime":"1700000000","integratedTime":', 1)
    for text in (early, twice):
        try:
            since = trusted(home).prove(document(text.encode())).since
        except UntrustedError:
            continue
        assert abs(since.timestamp() - time.time()) < 600
