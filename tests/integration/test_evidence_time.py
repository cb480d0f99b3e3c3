"""When evidence was signed: by an authority's stamp it is known, whatever the statement claims."""

import base64
import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from envbuilder.evidence.attach import attach, attach_bundles
from envbuilder.evidence.bundle import parse_bundle
from envbuilder.evidence.keyring import Keyring, TrustedKey
from envbuilder.evidence.signers import KeySigner
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.timestamps import read_authority, request_stamp
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.policy import read_keyring, read_policy
from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.model.progress import Silent
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.referrers import list_referrers
from envbuilder.resolve.context import Context
from envbuilder.smoke.report import CheckStatus, Report
from envbuilder.storage.build_records import keep_report
from envbuilder.workflow.publish import publish
from envbuilder.workflow.signing import signing_with
from tests.servers.attacked import attacked
from tests.servers.scripted import scripted
from tests.servers.timestamps import new_authority, stamping

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Signs nothing: gives a bundle that somebody has."""

    body: bytes

    def bundle(self, _payload: bytes) -> bytes:
        return self.body


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("attacked")) as world:
        for document in (world.image.manifest, world.image.config):
            world.store.add(document)
        yield world


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """The authority that a policy names, and its address."""
    made = new_authority(tmp_path_factory.mktemp("stamps") / "ours")
    with stamping(made) as url:
        yield made, url


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    made = new_authority(tmp_path_factory.mktemp("stamps") / "other")
    with stamping(made) as url:
        yield made, url


class Stamped:
    """The sealed image in its registry, and people who have results stamped."""

    def __init__(self, world, authority, stranger):
        self.world, self.authority, self.stranger = world, authority, stranger

    @contextmanager
    def clock(self, hours, by=None):
        authority = by or self.authority[0]
        authority.at = None if hours is None else NOW - timedelta(hours=hours)
        try:
            yield
        finally:
            authority.at = None

    def result(self, verdict, hours):
        """State a result that claims to be so old."""
        moment = (NOW - timedelta(hours=hours)).isoformat()
        report = Report(subject="s", verdict=CheckStatus(verdict), summary="x", checks=())
        digest = self.world.image.digest
        return smoke_result(self.world.lock, digest, report.to_dict(), finished=moment)

    def bundle(self, statement, stamped, *, by=None):
        """Sign and have it stamped so many hours ago."""
        authority, url = by or self.authority
        with self.clock(stamped, authority):
            return KeySigner(key=self.world.key()[0], stamps=url).bundle(statement.payload("app"))

    def put(self, verdict="pass", *, claims=0.0, stamped=None, by=None):
        """Attach a result that claims one moment and was stamped at another; give its bundle."""
        statement = self.result(verdict, claims)
        body = self.bundle(statement, claims if stamped is None else stamped, by=by)
        return self.put_bundle(statement, body)

    def put_bundle(self, statement, body):
        manifest = Manifest(body=self.world.image.manifest, media_type=self.world.image.media_type)
        attach_bundles(self.world.repository, manifest, [statement], Fixed(body=body))
        return statement, body

    def again(self, put, hours):
        """Have the signature of a bundle stamped once more, as anyone can."""
        statement, body = put
        content = json.loads(body)
        signature = base64.b64decode(content["dsseEnvelope"]["signatures"][0]["sig"])
        with self.clock(hours):
            set_stamps(content, [request_stamp(self.authority[1], signature)])
        return self.put_bundle(statement, json.dumps(content).encode())

    def changed(self, change, *, claims=1.0, stamped=1.0):
        """Attach a stamped result whose bundle was changed."""
        statement = self.result("pass", claims)
        content = json.loads(self.bundle(statement, stamped))
        change(self, content)
        self.put_bundle(statement, json.dumps(content).encode())

    def verify(self, *, clock=True, until=None):
        known = read_authority(self.authority[0].file) if clock else None
        key = TrustedKey(key=self.world.key()[1], clock=known, until=until)
        return self.world.verify(Level.EVIDENCE, keyring=Keyring(keys=(key,)))


@pytest.fixture
def people(running, authority, stranger):
    running.reset()
    return Stamped(running, authority, stranger)


def stamps_of(content):
    return content["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]


def set_stamps(content, stamps):
    listed = [{"signedTimestamp": base64.b64encode(each).decode()} for each in stamps]
    data = {"rfc3161Timestamps": listed}
    content["verificationMaterial"]["timestampVerificationData"] = data


def unstamped(people, verdict="pass", claims=1.0):
    statement = people.result(verdict, claims)
    signer = KeySigner(key=people.world.key()[0])
    people.put_bundle(statement, signer.bundle(statement.payload("app")))


def in_tag(people, verdict="pass", claims=1.0):
    statement = people.result(verdict, claims)
    attach(people.world.repository, people.world.image.digest, [statement], people.world.key()[0])


def stamp_of_another(people, content):
    other = json.loads(people.bundle(people.result("pass", 9), 1))
    content["verificationMaterial"] = other["verificationMaterial"]


def a_strangers_signature_first(people, content):
    """Stamp some signature early, to lend that moment to a later one."""
    early = b"a signature of a stranger"
    with people.clock(9):
        set_stamps(content, [request_stamp(people.authority[1], early)])
    first = {"sig": base64.b64encode(early).decode(), "keyid": ""}
    content["dsseEnvelope"]["signatures"].insert(0, first)


TABLE = {
    "stamped": (lambda p: p.put(claims=1), 0),
    "without a stamp": (unstamped, 9),
    "in a tag, which has no room for one": (in_tag, 9),
    "by another authority": (lambda p: p.put(claims=1, by=p.stranger), 9),
    "the stamp of another signature": (lambda p: p.changed(stamp_of_another), 9),
    "no stamps": (lambda p: p.changed(lambda _, c: set_stamps(c, [])), 9),
    "a stamp that is none": (lambda p: p.changed(lambda _, c: set_stamps(c, [b"0\0"])), 9),
    "a damaged stamp before a good one": (
        lambda p: p.changed(lambda _, c: stamps_of(c).insert(0, {"signedTimestamp": "MAA="})), 0),
    "a stamp that is not base64": (
        lambda p: p.changed(lambda _, c: stamps_of(c)[0].update(signedTimestamp="?")), 9),
    "stamps in place of a list": (
        lambda p: p.changed(lambda _, c: c["verificationMaterial"].update(
            timestampVerificationData={"rfc3161Timestamps": {"a": 1}})), 9),
    "many before the good one": (
        lambda p: p.changed(lambda _, c: stamps_of(c).__setitem__(
            slice(0, 0), [{"signedTimestamp": "MAA="}] * 40)), 9),
    "a stranger's signature, stamped, before ours": (
        lambda p: p.changed(a_strangers_signature_first), 9),
    "claims to be later than its stamp": (lambda p: p.put(claims=1, stamped=3), 9),
    "claims to be earlier than its stamp": (lambda p: p.put(claims=3, stamped=1), 0),
    "failed, whose machine's clock is behind": (
        lambda p: (p.put(claims=2), p.put("fail", claims=9, stamped=1)), 9),
    "failed, then passed": (lambda p: (p.put("fail", claims=2), p.put(claims=1)), 0),
    "passed, then failed": (lambda p: (p.put(claims=2), p.put("fail", claims=1)), 9),
    "an old pass stamped again after a failure": (
        lambda p: (old := p.put(claims=5), p.put("fail", claims=2), p.again(old, 0)), 9),
    "an old failure stamped again after a pass": (
        lambda p: (old := p.put("fail", claims=5), p.put(claims=2), p.again(old, 0)), 0),
    "a newer failure without a stamp": (
        lambda p: (p.put(claims=2), unstamped(p, "fail", 1)), 0),
    "a newer pass without a stamp": (
        lambda p: (p.put("fail", claims=2), unstamped(p, "pass", 1)), 9),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_the_authority_tells_the_time(people, name):
    apply, code = TABLE[name]
    apply(people)
    verdict = people.verify()
    assert verdict.exit_code == code, verdict.findings[-1]


def test_why_nothing_counts_is_said(people):
    unstamped(people)
    assert "has no valid time stamp" in people.verify().findings[-1].explanation


def test_without_an_authority_the_statement_tells(people):
    people.put(claims=2)
    people.put("fail", claims=9, stamped=1)
    assert people.verify(clock=False).exit_code == 0


@pytest.mark.parametrize(
    ("claims", "stamped", "code"), [(5, 5, 0), (5, 1, 9), (5, 4, 0), (1, 1, 9)]
)
def test_a_key_that_retired_signs_nothing_more_whatever_it_claims(people, claims, stamped, code):
    people.put(claims=claims, stamped=stamped)
    assert people.verify(until=NOW - timedelta(hours=3)).exit_code == code


def test_a_policy_names_the_authority(people, tmp_path):
    policy = tmp_path / "policy.yaml"
    (tmp_path / "tsa.pem").write_bytes(people.authority[0].file.read_bytes())
    policy.write_text("key: mine.pub\ntimestamp_authority: tsa.pem\n")
    (tmp_path / "mine.pub").write_bytes((people.world.folder / "mine.pub").read_bytes())
    people.put(claims=1)
    keyring = read_keyring(read_policy(policy), policy)
    assert people.world.verify(Level.EVIDENCE, keyring=keyring).exit_code == 0
    people.world.reset()
    unstamped(people)
    assert people.world.verify(Level.EVIDENCE, keyring=keyring).exit_code == 9


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "holds no certificates"), (b"x", "holds no certificates"), (None, "cannot read"),
     ("leaf", "lacks the root")],
)  # fmt: skip
def test_certificates_that_do_not_serve(authority, tmp_path, content, words):
    path = tmp_path / "tsa.pem"
    if content == "leaf":
        content = (authority[0].folder / "tsa.pem").read_bytes()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_authority(path)


# -- asking for a stamp -------------------------------------------------------------------------


def pushed(people, stamps=None):
    context = Context(store=people.world.store, progress=Silent(), registries=people.world.client)
    signing = signing_with(
        str(people.world.folder / "mine.key"), bundles=True, timestamp_server=stamps
    )
    publish(context, people.world.lock, people.world.ref, signing=signing)
    return len(list_referrers(people.world.repository, people.world.image.digest))


def test_a_push_has_all_stamped_once(people):
    people.world.key()
    report = Report(subject="s", verdict=CheckStatus.PASS, summary="x", checks=())
    keep_report(people.world.store, people.world.image.digest, report.to_dict())
    assert pushed(people) == 4
    assert people.verify().exit_code == 9
    assert pushed(people, people.authority[1]) == 8
    assert people.verify().exit_code == 0
    assert pushed(people, people.authority[1]) == 8, "what was stamped is not stamped again"
    asked = []
    people.world.memory.fault = lambda _memory, _call, request: asked.append(request.path)

    def asks(stamps):
        del asked[:]
        pushed(people, stamps)
        return len(asked) - 2  # which the count takes

    assert asks(people.authority[1]) == 2
    assert asks(None) > 2, "the list has grown since evidence without stamps was seen in it"
    assert asks(None) == 2


BAD = {
    "an error": lambda call, _: call.answer(400, b"no"),
    "a page": lambda call, _: call.answer(200, b"<html>"),
    "nothing": lambda call, _: call.answer(200),
}


@pytest.mark.parametrize("name", BAD)
def test_an_authority_that_does_not_stamp(name):
    with scripted(BAD[name]) as server, pytest.raises(NetworkError, match="gave no time stamp"):
        request_stamp(f"http://{server.host}/", b"x")


def test_a_stamp_of_somebody_else_is_refused(people):
    """The answer to another question: of another signature, or an old one."""
    _, body = people.put(claims=1)
    (old,) = parse_bundle(body).stamps
    with (
        scripted(lambda call, _: call.answer(200, old)) as server,
        pytest.raises(NetworkError, match="gave no time stamp"),
    ):
        request_stamp(f"http://{server.host}/", b"x")
