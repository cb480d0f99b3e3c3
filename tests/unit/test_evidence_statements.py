"""Envelopes and statements: what is signed is what is read, and nothing else passes."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.json_format import ParseError
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.evidence import dsse
from envbuilder.evidence.keys import builder_id, key_uri, public_der
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.statements import (
    NAMES,
    TEST_RESULT,
    finished_on,
    parse_statement,
    provenance,
)
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.verify.statements import _covers
from envbuilder.model.errors import UsageError
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.reference import Digest
from envbuilder.smoke.report import Check, CheckStatus, Report
from tests.schemas import check_provenance, check_test_result
from tests.servers.locks import small_lock

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
IMAGE = Digest.of(b"image")
MOMENT = "2026-01-02T03:04:05Z"


def report(verdict: CheckStatus = CheckStatus.PASS) -> Report:
    checks = tuple(Check(name=f"check-{status}", status=status) for status in CheckStatus)
    return Report(subject="small", verdict=verdict, summary="x", checks=checks)


@given(st.binary(max_size=300))
def test_an_envelope_opens_with_its_key_only(payload):
    envelope = dsse.sign(payload, KEY)
    assert dsse.opened(envelope, KEY.public_key()) == payload
    assert dsse.opened(envelope, OTHER.public_key()) is None


@given(st.binary(max_size=100) | st.text(max_size=50).map(lambda text: json.dumps(text).encode()))
def test_what_is_no_envelope_does_not_open(data):
    assert dsse.opened(data, KEY.public_key()) is None


@pytest.mark.parametrize("member", ["payload", "payloadType", "signatures"])
@pytest.mark.parametrize("value", [None, 1, "", "!", [], [{}], [{"sig": 1}], {"sig": "x"}])
def test_a_damaged_envelope_does_not_open(member, value):
    content = json.loads(dsse.sign(b"{}", KEY))
    content[member] = value
    assert dsse.opened(json.dumps(content).encode(), KEY.public_key()) is None


def test_one_good_signature_among_others_is_enough():
    content = json.loads(dsse.sign(b"{}", KEY))
    others = json.loads(dsse.sign(b"{}", OTHER))["signatures"]
    content["signatures"] = [{"sig": "junk"}, *others, *content["signatures"]]
    assert dsse.opened(json.dumps(content).encode(), KEY.public_key()) == b"{}"


def test_a_signature_covers_the_type():
    content = json.loads(dsse.sign(b"{}", KEY))
    content["payloadType"] = "text/plain"
    assert dsse.opened(json.dumps(content).encode(), KEY.public_key()) is None


def test_the_encoding_is_the_specification_s_own_example():
    # DSSE, protocol.md: PAE("http://example.com/HelloWorld", "hello world"), with our type.
    signed = b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    signature = json.loads(dsse.sign(b"hello world", KEY))["signatures"][0]["sig"]
    assert dsse.is_signed(signed, signature, KEY.public_key())


@pytest.mark.parametrize(
    "statement",
    [
        provenance(small_lock(), IMAGE, engine="embedded", finished=MOMENT),
        sbom(small_lock(), IMAGE, finished=MOMENT),
        smoke_result(small_lock(), IMAGE, report().to_dict(), finished=MOMENT),
    ],
    ids=["provenance", "sbom", "test-result"],
)
class TestEveryStatement:
    def test_reads_back(self, statement):
        read = parse_statement(statement.payload("small"), IMAGE)
        assert read is not None
        assert read.payload("small") == statement.payload("small")

    def test_is_about_one_image(self, statement):
        assert parse_statement(statement.payload("small"), Digest.of(b"other")) is None

    def test_holds_no_password(self, statement):
        assert b"hunter2" not in statement.payload("small")

    def test_knows_its_age(self, statement):
        assert finished_on(statement).startswith("2026-01-02T03:04:05")

    def test_has_a_name(self, statement):
        assert statement.predicate_type in NAMES.values()


def test_the_same_inputs_make_the_same_bytes():
    made = [sbom(small_lock(), IMAGE, finished=MOMENT).payload("x") for _ in range(2)]
    assert made[0] == made[1]


def test_provenance_names_every_input_by_hash():
    predicate = provenance(small_lock(), IMAGE, engine="embedded", finished=MOMENT).predicate
    inputs = {
        entry["name"]: entry for entry in predicate["buildDefinition"]["resolvedDependencies"]
    }
    assert inputs["tqdm-4.67.1-py3-none-any.whl"]["uri"] == "pkg:pypi/tqdm@4.67.1"
    assert inputs["mine"]["digest"]["gitCommit"] == "c" * 40
    assert inputs["mine"]["uri"] == "git+https://git.example.test/mine@v1"
    deb = inputs["libstdc++6_14.2.0-19_amd64.deb"]
    assert deb["uri"] == "pkg:deb/debian/libstdc%2B%2B6@1:14.2.0-19"
    assert all(entry["digest"] for entry in inputs.values())


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        (CheckStatus.PASS, "PASSED"),
        (CheckStatus.FAIL, "FAILED"),
        (CheckStatus.ERROR, "FAILED"),
        (CheckStatus.SKIP, "WARNED"),
    ],
)
def test_a_test_result_says_what_the_report_says(verdict, result):
    lock = small_lock()
    statement = smoke_result(lock, IMAGE, report(verdict).to_dict(), finished=MOMENT)
    assert statement.predicate_type == TEST_RESULT
    assert statement.predicate["result"] == result
    assert statement.predicate["passedTests"] == ["check-pass"]
    assert statement.predicate["failedTests"] == ["check-fail", "check-error"]
    digests = {entry["name"]: entry["digest"] for entry in statement.predicate["configuration"]}
    assert digests["pylock.small.toml"] == {"sha256": lock_checksum(lock).hex}
    assert statement.predicate["report"]["verdict"] == str(verdict)


def test_of_several_models_each_test_says_whose_it_is():
    plain = report(CheckStatus.PASS).to_dict()
    plain["models"] = [{"name": name} for name in ("a", "b")]
    plain["checks"] = [
        {"name": "tokens.image", "model": "a", "status": "pass"},
        {"name": "tokens.image", "model": "b", "status": "fail"},
        {"name": "caches", "model": "", "status": "pass"},
    ]
    predicate = smoke_result(small_lock(), IMAGE, plain, finished=MOMENT).predicate
    assert predicate["passedTests"] == ["tokens.image (a)", "caches"]
    assert predicate["failedTests"] == ["tokens.image (b)"]
    old = [{name: each[name] for name in ("name", "status")} for each in plain["checks"]]
    before = {**plain, "checks": old, "models": []}
    predicate = smoke_result(small_lock(), IMAGE, before, finished=MOMENT).predicate
    assert predicate["passedTests"] == ["tokens.image", "caches"]


def test_a_check_that_a_policy_wants_is_found_beside_its_models():
    passed = ["tokens.image (a)", "tokens.image (b)", "caches"]
    assert _covers(passed, "tokens.image")
    assert _covers(passed, "tokens")
    assert _covers(passed, "caches")
    assert not _covers(passed, "tokens.audio")
    assert not _covers(passed, "a")


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b'{"subject": 1}', b'{"subject": [{"digest": []}], "predicate": {}}',
     base64.b64encode(b"x"), b'{"subject": [], "predicate": {}, "predicateType": "x"}'],
)  # fmt: skip
def test_what_is_no_statement_is_none(payload):
    assert parse_statement(payload, IMAGE) is None


def test_statements_are_what_their_schemas_say():
    check_provenance(provenance(small_lock(), IMAGE, engine="docker", finished=MOMENT).predicate)
    stated = smoke_result(small_lock(), IMAGE, report().to_dict(), finished=MOMENT)
    check_test_result(stated.predicate)
    with pytest.raises(ParseError):
        check_provenance({"buildDefinition": {"buildType": ["x"]}})


def test_provenance_names_its_builder():
    """By the key that signs, or as the machine is told."""
    key = KEY.public_key()
    by_key = builder_id(key_uri(key), {})
    assert by_key == f"urn:gpu-envbuilder:builder:sha256:{Digest.of(public_der(key)).hex}"
    assert by_key != builder_id(key_uri(OTHER.public_key()), {})
    ours = "https://ci.example.com/gpu-1"
    assert builder_id(key_uri(key), {"ENVBUILDER_BUILDER_ID": ours}) == ours
    stated = provenance(small_lock(), IMAGE, engine="embedded", finished=MOMENT, builder=ours)
    assert stated.predicate["runDetails"]["builder"]["id"] == ours
    for wrong in ("gpu-1", "http:", "urn:a b"):
        with pytest.raises(UsageError, match="is no URI"):
            builder_id(key_uri(key), {"ENVBUILDER_BUILDER_ID": wrong})
