"""VEX: what people excuse stays excused, and what we found is said beside it."""

import json

import pytest

from envbuilder.evidence.bill import bill_of_lock
from envbuilder.model.errors import UsageError
from envbuilder.model.reference import Digest
from envbuilder.workflow.bump.advisories import read_concerns
from envbuilder.workflow.bump.vex import read_vex, vex
from tests.unit.locks import lock
from tests.unit.test_bump_advisories import advisory

BILL = bill_of_lock(
    lock({"requests": "2.19.0", "urllib3": "1.25", "idna": "2.0"}),
    Digest("a" * 64),
    finished="2026-01-02T03:04:05Z",
)
MINE = {
    "vulnerability": {"name": "CVE-2025-1"},
    "products": [{"@id": "pkg:pypi/requests"}],
    "status": "not_affected",
    "justification": "vulnerable_code_not_in_execute_path",
    "timestamp": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def concerns(tmp_path):
    osv = tmp_path / "osv"
    osv.mkdir()
    holes = [
        advisory("requests", {"introduced": "0"}, {"fixed": "2.20"}) | {
            "id": "GHSA-1", "aliases": ["CVE-2025-1"]},
        advisory("urllib3", {"introduced": "0"}, {"fixed": "1.24"}) | {"id": "GHSA-2"},
        advisory("idna", {"introduced": "3"}) | {"id": "GHSA-3"},
        advisory("idna", {"introduced": "0"}) | {"id": "GHSA-4"},
    ]  # fmt: skip
    for number, each in enumerate(holes):
        (osv / f"{number}.json").write_text(json.dumps(each))
    return {each.names[0]: each for each in read_concerns(BILL, [osv])}


@pytest.fixture
def written(tmp_path):
    def write(*statements):
        path = tmp_path / "x.vex.json"
        path.write_text(json.dumps({"statements": list(statements)}))
        return path

    return write


def test_says_what_holds_of_each_advisory(concerns, tmp_path):
    document = vex(BILL, list(concerns.values()), read_vex(tmp_path / "absent"))
    by_name = {each["vulnerability"]["name"]: each for each in document["statements"]}
    assert {name: each["status"] for name, each in by_name.items()} == {
        "GHSA-1": "affected", "GHSA-2": "fixed", "GHSA-3": "not_affected", "GHSA-4": "affected",
    }  # fmt: skip
    assert by_name["GHSA-1"]["action_statement"] == "Bump requests to 2.20."
    assert by_name["GHSA-4"]["action_statement"] == "No fix is known."
    assert by_name["GHSA-3"]["justification"] == "vulnerable_code_not_present"
    assert by_name["GHSA-1"]["vulnerability"]["aliases"] == ["CVE-2025-1"]
    (product,) = by_name["GHSA-1"]["products"]
    assert product["@id"] == f"pkg:oci/x@sha256%3A{'a' * 64}"
    assert product["subcomponents"] == [{"@id": "pkg:pypi/requests@2.19.0"}]
    assert document["@context"] == "https://openvex.dev/ns/v0.2.0"
    assert document["version"] == 1


def test_what_people_state_is_heeded_and_kept(concerns, written):
    stated = read_vex(written(MINE))
    assert stated.excuses(concerns["GHSA-1"])
    assert not stated.excuses(concerns["GHSA-4"])
    document = vex(BILL, list(concerns.values()), stated)
    assert document["statements"][0] == MINE
    names = [each["vulnerability"]["name"] for each in document["statements"]]
    assert "GHSA-1" not in names
    # Written and read again, ours are found anew and theirs stay: nothing piles up.
    again = read_vex(written(*document["statements"]))
    assert vex(BILL, list(concerns.values()), again) == document


@pytest.mark.parametrize(
    ("change", "excused"),
    [
        ({"products": [{"@id": "pkg:pypi/requests@2.19.0"}]}, True),
        ({"products": [{"@id": "pkg:pypi/requests@2.18.0"}]}, False),
        ({"products": [{"@id": "pkg:pypi/idna"}]}, False),
        ({"products": [{"@id": "pkg:oci/x"}]}, True),
        ({"products": [{"@id": "pkg:oci/x", "subcomponents": [{"@id": "pkg:pypi/idna"}]}]}, False),
        ({"products": [{"@id": "no purl"}]}, False),
        ({"products": []}, True),
        ({"vulnerability": {"name": "GHSA-1"}}, True),
        ({"vulnerability": {"name": "other", "aliases": ["CVE-2025-1"]}}, True),
        ({"status": "under_investigation"}, False),
        ({"status_notes": "stated by envbuilder, by the OSV database"}, False),
    ],
)
def test_what_an_excuse_reaches(concerns, written, change, excused):
    assert read_vex(written(MINE | change)).excuses(concerns["GHSA-1"]) is excused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no OpenVEX document"),
        ("[]", "is no OpenVEX document"),
        ('{"statements": [1]}', "is no OpenVEX document"),
        ('{"statements": [{}]}', r"statements\[0\] is no statement"),
        ('{"statements": [{"vulnerability": {"name": "X"}, "status": "fine"}]}', "is no statement"),
        ('{"statements": [{"vulnerability": {"name": "X"}, "status": "not_affected"}]}',
         "calls X not_affected without a reason"),
    ],
)  # fmt: skip
def test_what_is_no_vex_is_told(tmp_path, text, words):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_vex(path)
