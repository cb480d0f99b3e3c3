"""Known holes: OSV documents against a lock."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from envbuilder.evidence.bill import PackageFacts, bill_of_lock
from envbuilder.layers.installed import DebInstalled, SystemFacts
from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from envbuilder.workflow.bump import osv
from envbuilder.workflow.bump.advisories import Concern, closing_pins, read_concerns
from envbuilder.workflow.bump.pins import Pin
from envbuilder.workflow.bump.security import security_pins
from envbuilder.workflow.bump.vex import Stated
from tests.contexts import context
from tests.integration.docker_light import Recording
from tests.unit.locks import lock

LOCK = lock(
    {"requests": "2.19.0", "urllib3": "1.25", "certifi": "2020.1.1", "safe": "1.0"},
    pins={"Requests": "==2.19.0", "certifi": "*", "safe": "*"},
)
SYSTEM = Pin(name="system")


def advisory(name: str, *events: dict[str, str], **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": more.pop("ecosystem", "PyPI"), "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        "versions": more.pop("versions", []),
    }
    return {"id": "X", "affected": [affected], **more}


def concerns(lock: Lock, *databases: Path, **facts: Any) -> tuple[Concern, ...]:
    known = PackageFacts(**facts)
    moment = "2026-01-02T03:04:05Z"
    return read_concerns(
        bill_of_lock(lock, Digest.of(b"x"), finished=moment, facts=known), databases
    )


def insecure(lock: Lock, database: Path) -> list[Pin]:
    return closing_pins(lock, concerns(lock, database))


def pins(folder: Path, *advisories: dict[str, Any]) -> list[Pin]:
    for number, each in enumerate(advisories):
        (folder / f"{number}.json").write_text(json.dumps(each))
    return insecure(LOCK, folder)


def test_takes_the_least_version_that_closes_all_holes(tmp_path: Path) -> None:
    assert pins(
        tmp_path,
        advisory("requests", {"introduced": "0"}, {"fixed": "2.20.0"}),
        advisory("Requests", {"introduced": "2.1"}, {"fixed": "2.31.0"}, {"introduced": "3"}),
    ) == [Pin(name="requests", specifier="==2.31.0"), SYSTEM]


def test_lets_go_of_what_the_spec_does_not_name_or_nobody_fixed(tmp_path: Path) -> None:
    assert pins(
        tmp_path,
        advisory("urllib3", {"introduced": "0"}, {"fixed": "1.26.5"}),
        advisory("certifi", versions=["2020.1.1"]),
    ) == [Pin(name="certifi"), Pin(name="urllib3"), SYSTEM]


def test_says_what_it_cannot_move_and_closes_the_rest(tmp_path: Path) -> None:
    where = "https://example.org/requests-2.0.0-py3-none-any.whl"
    held = lock(
        {"requests": "2.0.0", "safe": "1.0"},
        pins={"Requests": {"url": where}, "safe": "==1.0"},
    )
    for name in ("requests", "safe"):
        text = json.dumps(advisory(name, {"introduced": "0"}, {"fixed": "2.20.0"}))
        (tmp_path / f"{name}.json").write_text(text)
    told = Recording()
    here = context(Store(tmp_path / "store"), told)
    found = security_pins(here, held, [tmp_path], Stated((), ""))
    assert found == [Pin(name="safe", specifier="==2.20.0"), SYSTEM]
    assert f"warning: --security cannot move requests: it comes from {where}" in told.titles


@pytest.mark.parametrize(
    "harmless",
    [
        advisory("safe", {"introduced": "0"}, {"fixed": "1.0"}),
        advisory("safe", {"introduced": "1.1"}),
        advisory("safe", {"introduced": "0"}, {"last_affected": "0.9"}),
        advisory("safe", {"introduced": "0"}, ecosystem="npm"),
        advisory("safe", {"introduced": "0"}, withdrawn="2024-01-01T00:00:00Z"),
        advisory("safe", {"introduced": "not-a-version"}),
        {"id": "X"},
    ],
)
def test_leaves_alone_what_is_safe(tmp_path: Path, harmless: dict[str, Any]) -> None:
    assert pins(tmp_path, harmless) == [SYSTEM]


def test_reads_the_zip_that_osv_publishes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("X.json", json.dumps(advisory("safe", {"introduced": "0"})))
    assert insecure(LOCK, tmp_path / "all.zip") == [Pin(name="safe"), SYSTEM]


def test_a_zip_that_inflates_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "all.zip"
    text = json.dumps(advisory("safe", {"introduced": "0"})).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.json", text + b" " * (5 << 20))
    with pytest.raises(UsageError, match=r"X\.json has more than the 4194304 bytes"):
        insecure(LOCK, path)
    monkeypatch.setattr(osv, "_FLOOR", 8 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.json", text + b" " * (3 << 20))
    with pytest.raises(UsageError, match=r"2\.json has more than the"):
        insecure(LOCK, path)


def test_an_advisory_of_megabytes_and_a_version_of_thousands_of_digits(tmp_path: Path) -> None:
    text = json.dumps(advisory("safe", {"introduced": "1" * 5000}))
    (tmp_path / "x.json").write_text(text)
    assert insecure(LOCK, tmp_path) == [SYSTEM]
    (tmp_path / "x.json").write_text(text + " " * (5 << 20))
    with pytest.raises(UsageError, match="which no advisory needs"):
        insecure(LOCK, tmp_path)


def test_refuses_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no"):
        insecure(LOCK, tmp_path)
    for text in ("{", "[]", '{"affected": ["x"]}', '{"affected": [{"package": 1}]}', "[" * 99999):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(UsageError, match=r"x\.json is no OSV document"):
            insecure(LOCK, tmp_path)
    with pytest.raises(UsageError, match="no OSV database"):
        insecure(LOCK, tmp_path / "x.json")


@pytest.mark.parametrize(
    "hole",
    [
        advisory("torch", versions=["2.5.0", "2.6.0"]),
        advisory("torch", {"introduced": "0"}, {"last_affected": "2.6.0"}),
    ],
)
def test_a_build_for_cuda_has_the_holes_of_its_release(
    tmp_path: Path, hole: dict[str, Any]
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(hole))
    cuda = lock({"torch": "2.6.0+cu124"})
    assert insecure(cuda, tmp_path) == [Pin(name="torch"), SYSTEM]


DEBS = lock({}, debs={"libssl3t64": "3.5.1-1+b2", "zlib1g": "1:1.3-1"})
SYSTEM_FACTS = SystemFacts(
    release=("debian", "13"),
    debs=tuple(
        DebInstalled(name=name, version=version, architecture="amd64", source=source,
                     source_version=of)
        for name, version, source, of in [
            ("libssl3t64", "3.5.1-1+b2", "openssl", "3.5.1-1"),
            ("zlib1g", "1:1.3-1", "zlib", "1:1.3-1"),
        ]
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("events", "affected", "fixed"),
    [
        ([{"introduced": "0"}, {"fixed": "3.5.1-1+deb13u1"}], True, "3.5.1-1+deb13u1"),
        ([{"introduced": "0"}, {"fixed": "3.5.1~rc1-1"}], False, "3.5.1~rc1-1"),
        ([{"introduced": "0"}], True, ""),
        ([{"introduced": "3.6"}], False, ""),
        ([{"introduced": "0"}, {"last_affected": "3.5.1-1"}], True, ""),
    ],
)
def test_debian_s_holes_are_found_by_source(tmp_path, events, affected, fixed):
    """By the source's version, not the rebuild's, and in dpkg's order."""
    hole = advisory("openssl", *events, ecosystem="Debian:13", upstream=["CVE-2025-1"])
    (tmp_path / "x.json").write_text(json.dumps(hole))
    (found,) = concerns(DEBS, tmp_path, system=SYSTEM_FACTS)
    assert (found.affected, found.fixed, found.names) == (affected, fixed, ("X", "CVE-2025-1"))
    assert found.part.name == "libssl3t64"
    assert closing_pins(DEBS, [found]) == [SYSTEM]


@pytest.mark.parametrize("ecosystem", ["Debian:12", "Debian", "PyPI", "Ubuntu:13"])
def test_other_systems_holes_are_not_ours(tmp_path, ecosystem):
    hole = advisory("openssl", {"introduced": "0"}, ecosystem=ecosystem)
    (tmp_path / "x.json").write_text(json.dumps(hole))
    assert concerns(DEBS, tmp_path, system=SYSTEM_FACTS) == ()


def test_several_databases_are_read(tmp_path):
    both = lock({"requests": "2.19.0"}, debs={"zlib1g": "1:1.3-1"})
    for name, each in [
        ("pypi", advisory("requests", {"introduced": "0"})),
        (
            "debian",
            advisory("zlib", {"introduced": "0"}, {"fixed": "1:1.4"}, ecosystem="Debian:13"),
        ),
    ]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_text(json.dumps(each))
    found = concerns(both, tmp_path / "pypi", tmp_path / "debian", system=SYSTEM_FACTS)
    assert [str(each) for each in found] == [
        "X in requests 2.19.0: no fix is known", "X in zlib1g 1:1.3-1: closed by 1:1.4",
    ]  # fmt: skip
