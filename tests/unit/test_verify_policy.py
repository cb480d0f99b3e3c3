"""What a policy may say, and where it is said to be wrong."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from envbuilder.evidence.keys import new_key, public_der, read_public
from envbuilder.evidence.read import Evidence
from envbuilder.evidence.statements import provenance
from envbuilder.evidence.verify.findings import FindingStatus
from envbuilder.evidence.verify.policy import Policy, read_keyring, read_policy
from envbuilder.evidence.verify.statements import judge_evidence
from envbuilder.model.errors import SpecError, UsageError
from envbuilder.model.reference import Digest
from tests.servers.locks import small_lock


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("required: [sbm]\n", ":1:12: unknown evidence 'sbm'; known are provenance"),
        ("required: [1]\n", ":1:12: unknown evidence 1"),
        ("required: []\n", ":1:1: expected a list of evidence"),
        ("required: sbom\n", ":1:1: expected a list of evidence"),
        ("requires: [sbom]\n", ":1:1: unknown key 'requires'; known are key, keys, required"),
        ("max_age_days: 0\n", ":1:1: expected a number of days, 1 to 36500, not 0"),
        ("max_age_days: 9999999\n", ":1:1: expected a number of days"),
        ("max_age_days: true\n", ":1:1: expected a number of days"),
        ("max_age_days: 1.5\n", ":1:1: expected a number of days"),
        ("key: 7\n", ":1:1: expected a file or env://NAME, not 7"),
        ("checks: 3\n", ":1:1: expected a list of names"),
        ("keys: [[]]\n", ":1:8: expected a list of files"),
        ("keys: [a, {key: b, till: x}]\n", ":1:20: unknown key 'till'; known are key, until"),
        ("keys: [{key: b, until: soon}]\n", ":1:17: expected a date such as 2026-07-01"),
        ("key: a\nkeys: [b]\n", ":2:1: name the keys in key or in keys"),
        ("required: [sbom]\nchecks: [tokens]\n", ":2:1: only a test-result tells"),
        ("builders: x\n", ":1:1: expected a list of URIs"),
        ("builders: [x]\n", ":1:1: only provenance tells of builders"),
        ("required: [signature]\nmax_age_days: 1\n", ":2:1: a signature has no date"),
        ("identities: x\n", ":1:1: expected a list of {identity"),
        ("identities: [x]\n", ":1:14: expected a list of {identity"),
        ("identities: [{identity: x}]\n", ":1:14: lacks issuer"),
        ("identities: [{issuer: x}]\n", ":1:14: expected either identity or identity_regexp"),
        ("identities: [{identity: x, issuer: ''}]\n", ":1:28: expected a list of {identity"),
        ("identities: [{identity: '', issuer: x}]\n", ":1:14: expected either identity or"),
        ("identities: [{identity: x, identity_regexp: y, issuer: z}]\n", ":1:14: expected either"),
        ("identities: [{identity_regexp: '(', issuer: z}]\n", ":1:15: is no regular expression"),
        ("identities: [{identity: x, issuer: z, until: soon}]\n", ":1:39: expected a date"),
        (
            "identities: [{identity: x, issuer: z, root: y}]\n",
            ":1:39: unknown key 'root'; known are identity, identity_regexp, issuer, trust_root",
        ),
        ("identities: [{identity: x, issuer_regexp: z}]\n", "unknown key 'issuer_regexp'"),
        ("timestamp_authority: 1\n", ":1:1: expected a PEM file of certificates"),
        ("timestamp_authority: x\n", ":1:1: is about what keys sign, and none is named"),
    ],
)
def test_what_does_not_fit_is_shown_with_its_place(written, text, words):
    with pytest.raises(SpecError) as caught:
        read_policy(written(text))
    assert words in str(caught.value)


def test_keys_lie_beside_the_policy_and_may_retire(written, tmp_path):
    for name in ("new", "old"):
        new_key(tmp_path / name)
    path = written("keys: [new.pub, {key: old.pub, until: 2026-07-01}]\n")
    keyring = read_keyring(read_policy(path), path)
    assert [public_der(each.key) for each in keyring.keys] == [
        public_der(read_public(str(tmp_path / f"{name}.pub"))) for name in ("new", "old")
    ]
    new, old = keyring.keys
    until = datetime(2026, 7, 1, tzinfo=UTC)
    assert (new.until, old.until) == (None, until)
    assert (old.holds(until), old.holds(datetime(2026, 7, 2, tzinfo=UTC))) == (True, False)
    assert (old.holds(None), new.holds(None)) == (False, True)


def test_a_key_that_is_not_there_is_an_error(written):
    path = written("key: nowhere.pub\n")
    with pytest.raises(UsageError, match=r"cannot read the key .*nowhere.pub"):
        read_keyring(read_policy(path), path)


def test_a_policy_may_name_no_key(written):
    path = written("max_age_days: 3\n")
    assert read_policy(path) == Policy(max_age_days=3)
    assert read_keyring(read_policy(path), path) is None


BUILDERS = Policy(required=("provenance",), builders=("https://ci.example.com/1",))


@pytest.mark.parametrize(
    ("details", "verdict", "words"),
    [
        ({"builder": {"id": "https://ci.example.com/1"}}, FindingStatus.OK, "signed"),
        ({"builder": {"id": "https://ci.example.com/2"}}, FindingStatus.MISMATCH, "by another"),
        ({"builder": {"id": ["https://ci.example.com/1"]}}, FindingStatus.MISMATCH, "by another"),
        ({"builder": {}}, FindingStatus.MISMATCH, "names no builder"),
        ({}, FindingStatus.MISMATCH, "names no builder"),
    ],
)
def test_provenance_counts_by_a_named_builder_only(details, verdict, words):
    moment = "2026-01-02T03:04:05Z"
    made = provenance(small_lock(), Digest.of(b"x"), engine="e", finished=moment)
    predicate = dict(made.predicate)
    predicate["runDetails"] = {"metadata": {"finishedOn": moment}, **details}
    evidence = Evidence(statements=(replace(made, predicate=predicate),))
    now = datetime(2026, 1, 3, tzinfo=UTC)
    (finding,) = judge_evidence(evidence, BUILDERS, small_lock(), now)
    assert (finding.status, words in finding.explanation) == (verdict, True)
