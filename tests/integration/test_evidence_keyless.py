"""Signatures by an identity: made through a private Sigstore, read by us and by stock cosign."""

import base64
import copy
import gc
import json
import re
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from envbuilder.evidence.attach import attach, attach_bundles
from envbuilder.evidence.bundle import BUNDLE_TYPE, Document, parse_bundle
from envbuilder.evidence.identities import TrustedIdentity, UntrustedError, read_root
from envbuilder.evidence.keyless import open_signer
from envbuilder.evidence.keys import public_pem
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.signers import Signing
from envbuilder.evidence.statements import SIGNED, Statement, provenance
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.timestamps import read_authority, request_stamp
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.policy import Policy, read_keyring, read_policy
from envbuilder.model.errors import MissingToolError, NetworkError, UsageError
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import Manifest
from envbuilder.resolve.context import Context
from envbuilder.smoke.report import CheckStatus, Report
from envbuilder.workflow.publish import publish
from tests.servers.attacked import attacked
from tests.servers.counting import counted
from tests.servers.scripted import scripted
from tests.servers.sigstore import IDENTITY, ISSUER, PERSON, Sigstore, sigstore, token

pytestmark = pytest.mark.integration

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


# -- in a registry ------------------------------------------------------------------------------


@pytest.fixture
def policy(home, world):
    """Write a policy beside the trusted root; give what it trusts."""
    world.reset()

    def write(text):
        path = home / "policy.yaml"
        path.write_text(text)
        return {"keyring": read_keyring(read_policy(path), path)}

    return write


def attach_all(world, signer, *statements):
    manifest = Manifest(body=world.image.manifest, media_type=world.image.media_type)
    attach_bundles(world.repository, manifest, statements, signer)


def result(world, verdict="pass"):
    report = Report(subject="small", verdict=CheckStatus(verdict), summary="x", checks=())
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return smoke_result(world.lock, world.image.digest, report.to_dict(), finished=moment)


MINE = f"identity: '{IDENTITY}', issuer: '{ISSUER}', trust_root: root.json"
NAMED = {
    "the name": (MINE, 0),
    "another name": (MINE.replace("main", "fork"), 9),
    "another issuer": (MINE.replace(f"'{ISSUER}'", "https://elsewhere.example.com"), 9),
    "a pattern": (
        f"identity_regexp: '.*@refs/heads/main', issuer: '{ISSUER}', trust_root: root.json", 0),
    "a pattern of a part": (
        f"identity_regexp: 'refs/heads/main', issuer: '{ISSUER}', trust_root: root.json", 9),
    "until yesterday": (f"{MINE}, until: 2026-01-01", 9),
    "until some day": (f"{MINE}, until: 2099-01-01", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_a_policy_names_whom_it_trusts(world, signer, policy, name):
    text, code = NAMED[name]
    trusts = policy(f"identities: [{{{text}}}]\n")
    signed = Statement(subject=world.image.digest, predicate_type=SIGNED, predicate={})
    attach_all(world, signer, result(world), signed)
    for required in ("test-result", "signature"):
        verdict = world.verify(Level.EVIDENCE, Policy(required=(required,)), **trusts)
        assert verdict.exit_code == code, verdict.findings[-1]


def test_why_somebody_else_does_not_count_is_said(world, signer, policy):
    trusts = policy(f"identities: [{{{MINE.replace('main', 'fork')}}}]\n")
    attach_all(world, signer, result(world))
    said = world.verify(Level.EVIDENCE, **trusts).findings[-1].explanation
    assert IDENTITY in said


def test_keys_and_identities_stand_side_by_side(world, signer, policy, home):
    """The newer failure counts, whoever of those trusted signed it."""
    (home / "mine.pub").write_bytes(public_pem(world.key()[1]))
    trusts = policy(f"key: mine.pub\nidentities: [{{{MINE}}}]\n")
    attach(world.repository, world.image.digest, [result(world)], world.key()[0])
    assert world.verify(Level.EVIDENCE, **trusts).exit_code == 0
    assert world.verify(Level.EVIDENCE).exit_code == 0
    attach_all(world, signer, result(world, "fail"))
    assert world.verify(Level.EVIDENCE, **trusts).exit_code == 9
    assert world.verify(Level.EVIDENCE).exit_code == 0, "whom nobody trusts changes nothing"


def test_one_result_costs_little(world, signer, policy):
    """As by a key: beside the image itself 5 requests, 40 KB in all."""
    trusts = policy(f"identities: [{{{MINE}}}]\n")
    digest, moment = world.image.digest, datetime.now(UTC).isoformat(timespec="seconds")
    made = provenance(world.lock, digest, engine="embedded", finished=moment)
    attach_all(world, signer, result(world), made, sbom(world.lock, digest, finished=moment))
    with counted(world.ref.registry) as relay:
        ref = world.ref
        world.ref = type(ref).parse(str(ref).replace(ref.registry, relay.host))
        try:
            world.verify()
            requests, received = len(relay.requests), relay.received
            verdict = world.verify(Level.EVIDENCE, **trusts)
        finally:
            world.ref = ref
    assert verdict.exit_code == 0
    assert len(relay.requests) - 2 * requests <= 5, relay.requests
    assert relay.received - received <= 40_000


def test_who_signs_without_a_key_looks_each_time(world, signer):
    """Only Sigstore's CA tells whose evidence is to be there: nothing is taken from memory."""
    world.reset()
    for text in (world.image.manifest, world.image.config):
        world.store.add(text)
    context = Context(store=world.store, progress=Silent(), registries=world.client)
    asked = []
    world.memory.fault = lambda _memory, _call, request: asked.append(request.method)
    signing = Signing(signer=signer, bundles=True)
    assert publish(context, world.lock, world.ref, signing=signing).evidence
    assert "PUT" in asked
    del asked[:]
    publish(context, world.lock, world.ref, signing=signing)
    assert set(asked) == {"HEAD", "GET"}
    assert asked.count("GET") > 2


# -- who we are ---------------------------------------------------------------------------------


@pytest.fixture
def nobody(monkeypatch):
    """No CI system, whatever this one is."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "SIGSTORE_ID_TOKEN",
                 "GOOGLE_SERVICE_ACCOUNT_NAME"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.usefixtures("nobody")
def test_with_nobody_to_sign_as_nothing_begins(environ):
    with pytest.raises(UsageError, match="nobody to sign as") as caught:
        open_signer(None, environ, interactive=False)
    assert "id-token: write" in caught.value.hint


def test_a_gitlab_job_signs_as_itself(nobody, environ):
    nobody.setenv("GITLAB_CI", "true")
    nobody.setenv("SIGSTORE_ID_TOKEN", token("project_path:acme/envs:ref_type:branch:ref:main"))
    assert open_signer(None, environ).identity.identity.startswith("project_path:acme/envs")


def test_a_github_job_signs_as_itself(nobody, environ):
    answer = json.dumps({"value": token()}).encode()
    with scripted(lambda call, _: call.answer(200, answer)) as server:
        nobody.setenv("GITHUB_ACTIONS", "true")
        nobody.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret")
        nobody.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"http://{server.host}/?x=1")
        assert open_signer(None, environ).name == IDENTITY


def test_a_github_job_without_the_permission_is_told(nobody, environ):
    nobody.setenv("GITHUB_ACTIONS", "true")
    for name in ("TOKEN", "URL"):
        nobody.delenv(f"ACTIONS_ID_TOKEN_REQUEST_{name}", raising=False)
    with pytest.raises(UsageError, match="permission"):
        open_signer(None, environ, interactive=False)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_whoever_sits_at_a_terminal_logs_in_with_a_browser(nobody, environ):
    def browse(url):
        threading.Thread(target=lambda: urlopen(url, timeout=60).read(), daemon=True).start()
        return True

    nobody.setattr("webbrowser.open", browse)
    assert open_signer(None, environ, interactive=True).name == f"mailto:{PERSON}"
    gc.collect()  # the library leaves the socket of its own server to the collector


def test_a_person_signs_by_an_address(environ):
    signer = open_signer("env://MINE", {**environ, "MINE": token("ann@example.com")})
    assert signer.name == "mailto:ann@example.com"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("env://EMPTY", "the variable EMPTY"),
        ("/nonexistent/token", "cannot read the token"),
        (token(), "for every process to see"),
        ("env://OLD", "malformed|validity"),
        ("env://OTHERS", "malformed"),
        ("env://JUNK", "malformed"),
    ],
)
def test_a_token_that_does_not_serve(environ, source, words):
    known = {
        "OLD": token(iat=1, exp=2),
        "OTHERS": token(aud="somebody else"),
        "JUNK": "hunter2",
    }
    with pytest.raises(UsageError, match=words) as caught:
        open_signer(source, {**environ, **known})
    said = f"{caught.value} {caught.value.hint}"
    assert "eyJ" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize("content", [None, "", "{}", "[", '{"mediaType": "x"}'])
def test_a_trust_configuration_that_does_not_serve(tmp_path, home, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match="ENVBUILDER_TRUST_CONFIG"):
        open_signer(str(home / "token"), {"ENVBUILDER_TRUST_CONFIG": str(path)})


@pytest.mark.parametrize("content", [None, "", "{}", "[", '{"mediaType": "x"}'])
def test_a_trusted_root_that_does_not_serve(tmp_path, content):
    path = tmp_path / "root.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"root\.json"):
        read_root(path)


@pytest.mark.parametrize("path", ["/api/v2/signingCert", "/api/v1/log/entries"])
@pytest.mark.parametrize("answer", [(500, b"no"), (400, b'{"message": "no"}'), (200, b"<html>"),
                                    (201, b"{}")])  # fmt: skip
def test_servers_that_do_not_serve(instance, home, tmp_path, path, answer):
    """Whatever they answer, it is said, and nothing is signed."""

    def respond(call, request):
        if request.path == path:
            call.answer(answer[0], answer[1])
        else:
            instance.respond(call, request)

    with scripted(respond) as server:
        bent = json.dumps(instance.config()).replace(instance.url, f"http://{server.host}")
        (tmp_path / "config.json").write_text(bent)
        environ = {"ENVBUILDER_TRUST_CONFIG": str(tmp_path / "config.json")}
        with pytest.raises(NetworkError, match="Sigstore, "):
            open_signer(str(home / "token"), environ).bundle(PAYLOAD)


def test_a_log_by_another_key_is_found_out_at_once(instance, home, environ, monkeypatch):
    monkeypatch.setattr(instance, "log_key", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(NetworkError, match="does not hold"):
        open_signer(str(home / "token"), environ).bundle(PAYLOAD)


@pytest.mark.parametrize(
    "use",
    [
        lambda home, environ: open_signer(str(home / "token"), environ),
        lambda home, _: read_root(home / "root.json"),
        lambda _home, _: read_authority(Path("x.pem")),
        lambda _home, _: request_stamp("http://127.0.0.1:1", b"x"),
    ],
)
def test_without_the_extra_the_way_to_it_is_said(home, environ, monkeypatch, use):
    for name in [each for each in sys.modules if re.match("sigstore|rfc3161_client", each)]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("sigstore", "rfc3161_client"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingToolError, match="not installed") as caught:
        use(home, environ)
    assert caught.value.hint == "pip install 'gpu-envbuilder[keyless]'"


def test_a_token_that_is_none_is_told_before_anybody_is_asked():
    with pytest.raises(UsageError, match="the variable EMPTY"):
        open_signer("env://EMPTY", {})
