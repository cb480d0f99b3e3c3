"""Statements with members of any type: judged or left alone, whoever signed them."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from envbuilder.evidence.read import Evidence
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.statements import (
    NAMES,
    parse_statement,
    provenance,
)
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.timestamps import AnyAuthority, StampAuthority
from envbuilder.evidence.verify.findings import FindingStatus
from envbuilder.evidence.verify.policy import Policy
from envbuilder.evidence.verify.statements import judge_evidence
from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import NoImageError, parse_descriptor
from envbuilder.smoke.report import Check, CheckStatus, Report
from tests.junk import spoilt
from tests.servers.locks import small_lock

IMAGE = Digest.of(b"image")
LOCK = small_lock()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STRICT = Policy(required=tuple(NAMES), max_age_days=1, checks=("x",), builders=("urn:x",))


def made():
    checks = (Check(name="x", status=CheckStatus.PASS),)
    report = Report(subject="x", verdict=CheckStatus.PASS, summary="x", checks=checks).to_dict()
    yield smoke_result(LOCK, IMAGE, report, finished=NOW.isoformat())
    yield provenance(LOCK, IMAGE, engine="x", finished=NOW.isoformat())
    yield sbom(LOCK, IMAGE, finished=NOW.isoformat())


MADE = tuple(made())
ENDS = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59+00:00")


@pytest.mark.parametrize("statement", MADE, ids=NAMES)
def test_a_statement_of_any_shape_is_judged(statement):
    for body in spoilt(json.loads(statement.payload("app"))):
        parsed = parse_statement(body, IMAGE)
        if parsed is not None:
            found = Evidence(statements=(parsed, statement))
            assert list(judge_evidence(found, STRICT, LOCK, NOW)), body


@pytest.mark.parametrize("since", ENDS)
@pytest.mark.parametrize("now", ENDS)
def test_no_clock_runs_over_at_the_ends_of_time(since, now):
    stated = replace(MADE[1], since=datetime.fromisoformat(since))
    policy = Policy(required=("provenance",))
    (found,) = judge_evidence(
        Evidence(statements=(stated,)), policy, LOCK, datetime.fromisoformat(now)
    )
    assert (found.status is FindingStatus.OK) is (since == now == ENDS[1])


def test_a_descriptor_that_is_read_can_be_written():
    whole = {
        "mediaType": "x", "digest": str(IMAGE), "size": 1, "annotations": {"x": "x"},
        "artifactType": "x", "platform": {"os": "x", "architecture": "x", "os.features": ["x"]},
    }  # fmt: skip
    for body in spoilt(whole):
        try:
            found = parse_descriptor(json.loads(body), "x")
        except (NoImageError, RecursionError):
            continue
        assert json.dumps(found.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize("clock", [StampAuthority(verifier=None), AnyAuthority()])
def test_a_stamp_that_breaks_the_library_is_none(monkeypatch, clock):
    rfc3161_client = pytest.importorskip("rfc3161_client")

    def broken(_):
        raise OverflowError("year 20000 is out of range")

    monkeypatch.setattr(rfc3161_client, "decode_timestamp_response", broken)
    assert clock.moment(b"signature", [b"stamp"]) is None
