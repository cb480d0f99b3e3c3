"""Signed statements against a policy and a lock: which one decides, and the words of each fault."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from envbuilder.evidence.read import Evidence
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.statements import Statement, provenance
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.verify.findings import Finding, FindingStatus
from envbuilder.evidence.verify.policy import Policy
from envbuilder.evidence.verify.statements import judge_evidence
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.reference import Digest
from envbuilder.smoke.report import Check, CheckStatus, Report
from tests.servers.locks import small_lock

IMAGE = Digest.of(b"image")
LOCK = small_lock()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TESTED = Policy(required=("test-result",))
MADE = Policy(required=("provenance",))


def smoked(*failed: str, age: timedelta = timedelta(), passed: tuple[str, ...] = ()) -> Statement:
    """Return a test result of ``age`` ago, red where anything ``failed``."""
    checks = (
        *(Check(name=name, status=CheckStatus.FAIL) for name in failed),
        *(Check(name=name, status=CheckStatus.PASS) for name in passed),
    )
    verdict = CheckStatus.FAIL if failed else CheckStatus.PASS
    report = Report(subject="x", verdict=verdict, summary="x", checks=checks)
    return smoke_result(LOCK, IMAGE, report.to_dict(), finished=(NOW - age).isoformat())


def built(*, age: timedelta = timedelta(), **changes: Any) -> Statement:
    made = provenance(LOCK, IMAGE, engine="x", finished=(NOW - age).isoformat())
    return replace(made, predicate={**made.predicate, **changes})


def finding(policy: Policy, *statements: Statement, **others: Any) -> Finding:
    evidence = Evidence(statements=statements, **others)
    (found,) = judge_evidence(evidence, policy, LOCK, NOW)
    return found


def said(policy: Policy, *statements: Statement, **others: Any) -> str:
    """Return why nothing satisfies the policy."""
    found = finding(policy, *statements, **others)
    assert found.status is FindingStatus.MISMATCH
    return found.explanation


def test_what_satisfies_is_told_with_its_moment() -> None:
    for policy, statement in ((TESTED, smoked()), (MADE, built())):
        found = finding(policy, statement)
        assert found.status is FindingStatus.OK
        assert found.explanation == f"signed, about this image, of {NOW.isoformat()}"


def test_of_test_results_the_newest_decides() -> None:
    older, newer = smoked("old", age=timedelta(hours=1)), smoked()
    assert finding(TESTED, newer, older).status is FindingStatus.OK
    older, newer = smoked(age=timedelta(hours=1)), smoked("start", "tokens.image")
    assert said(TESTED, newer, older) == (
        f"the newest by a trusted key says 'FAILED', of {NOW.isoformat()}: start, tokens.image"
    )


def test_of_what_an_image_is_made_of_any_one_is_enough() -> None:
    hour = timedelta(hours=1)
    unfit = built(buildDefinition={})
    found = finding(MADE, unfit, built(age=hour))
    assert found.status is FindingStatus.OK
    assert found.explanation.endswith((NOW - hour).isoformat())
    assert said(MADE, unfit, built(age=hour, buildDefinition={})) == "names no lock"


def test_a_result_that_gives_no_reason() -> None:
    odd = smoked()
    odd = replace(odd, predicate={**odd.predicate, "result": "WARNED", "failedTests": "many"})
    assert said(TESTED, odd).endswith(f"says 'WARNED', of {NOW.isoformat()}: no reason given")


@pytest.mark.parametrize(
    ("passed", "missing"),
    [
        (("tokens.image", "start"), ""),
        (("tokens.image (qwen2_audio)", "start (x)"), ""),
        (("start",), "tokens"),
        (("tokensimage",), "start, tokens"),
        ((), "start, tokens"),
    ],
)
def test_checks_that_a_policy_asks_for(passed: tuple[str, ...], missing: str) -> None:
    policy = Policy(required=("test-result",), checks=("start", "tokens"))
    found = finding(policy, smoked(passed=passed))
    assert (found.status is FindingStatus.OK) is (not missing)
    if missing:
        assert found.explanation == (
            f"the newest by a trusted key does not say that these passed: {missing}"
        )


def test_another_lock_and_none() -> None:
    other = [{"digest": {"sha256": "0" * 64}}]
    odd = smoked()
    of_another = replace(odd, predicate={**odd.predicate, "configuration": other})
    assert said(TESTED, of_another) == "the newest by a trusted key is about another lock"
    of_none = replace(odd, predicate={**odd.predicate, "configuration": None})
    assert said(TESTED, of_none) == "the newest by a trusted key names no lock"
    definition = {"externalParameters": {"lock": f"sha256:{'0' * 64}"}}
    assert said(MADE, built(buildDefinition=definition)) == "is about another lock"
    definition = {"externalParameters": {"lock": str(lock_checksum(LOCK))}}
    assert finding(MADE, built(buildDefinition=definition)).status is FindingStatus.OK
    bill = sbom(LOCK, IMAGE, finished=NOW.isoformat())
    assert finding(Policy(required=("sbom",)), bill).status is FindingStatus.OK, "it names no lock"


def test_builders_that_a_policy_names() -> None:
    policy = Policy(required=("provenance",), builders=("urn:ours",))
    by_ours = built(runDetails={"builder": {"id": "urn:ours"}, "metadata": _on(NOW)})
    assert finding(policy, by_ours).status is FindingStatus.OK
    by_other = built(runDetails={"builder": {"id": "urn:other"}, "metadata": _on(NOW)})
    assert said(policy, by_other) == "is by another builder: 'urn:other'"
    assert said(policy, built(runDetails={"metadata": _on(NOW)})) == "names no builder"
    assert finding(MADE, by_other).status is FindingStatus.OK


def _on(moment: datetime) -> dict[str, str]:
    return {"finishedOn": moment.isoformat()}


SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("age", "why"),
    [
        (-5 * MINUTE, ""),
        (-5 * MINUTE - SECOND, "is from the future: "),
        (2 * DAY, ""),
        (2 * DAY + SECOND, "older than 2 days"),
    ],
)
def test_the_age_of_a_statement(age: timedelta, why: str) -> None:
    policy = Policy(required=("provenance",), max_age_days=2)
    found = finding(policy, built(age=age))
    assert (found.status is FindingStatus.OK) is (not why)
    assert why in found.explanation


def test_a_moment_after_the_signature_is_no_moment() -> None:
    stamped = replace(built(), since=NOW - 5 * MINUTE)
    assert finding(MADE, stamped).status is FindingStatus.OK, "clocks differ"
    stamped = replace(built(), since=NOW - 5 * MINUTE - SECOND)
    assert "but was signed before, on 2026-01-02T02:59:04+00:00" in said(MADE, stamped)
    dateless = built(runDetails={"metadata": {"finishedOn": "yesterday"}})
    assert said(MADE, dateless) == "has no date that we can read: 'yesterday'"


def test_what_is_missing_is_told_with_what_is_there() -> None:
    assert said(TESTED) == "none by this key about this image"
    assert said(TESTED, built()) == "none by this key about this image"
    assert said(TESTED, by_others=2, refusals=("it is expired", "it is revoked")) == (
        "none by this key about this image; there is 2 signed by another key (it is revoked)"
    )
    assert said(TESTED, by_others=1, about_others=3) == (
        "none by this key about this image; there is 1 signed by another key, 3 about another image"
    )
