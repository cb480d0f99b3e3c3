from __future__ import annotations

from pathlib import Path

import pytest

from envbuilder.model.reference import ImageRef
from envbuilder.storage.store import Store
from envbuilder.workflow import doctor
from tests.contexts import context

pytestmark = pytest.mark.integration

NOWHERE = ImageRef.parse("127.0.0.1:1/library/debian:trixie")


def test_every_trouble_comes_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    here = context(Store(tmp_path))
    findings = doctor.examine(here, images=[NOWHERE])
    found = {finding.name: finding for finding in findings}
    assert list(found)[:2] == ["container runtime", "memory limits"]
    assert found["container runtime"].status == "ok", found["container runtime"]
    assert "works here" in found["container runtime"].detail
    assert found["Docker Engine"].status == "warn"
    assert found["git"].detail.startswith("git version")
    assert found["registry 127.0.0.1:1"].status == "missing"
    assert all(finding.advice for finding in found.values() if finding.status != "ok")


@pytest.mark.docker
def test_an_engine_that_answers_tells_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_ROOM", 0)
    for finding in (doctor.docker_engine(Store(tmp_path)), doctor.builder()):
        assert finding.status == "ok", finding
        assert int(finding.detail.split(".")[0]) >= 26


def test_a_missing_runtime_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("envbuilder.runtime.oci._SYSTEM_PATH", ())
    finding = doctor.oci_runtime(Store(tmp_path))
    assert (finding.status, finding.advice) == ("missing", "apt-get install crun")
    missing = doctor.program("git", needed_for="git sources", advice="apt-get install git")
    assert missing == doctor.Diagnosis(
        name="git",
        status="missing",
        detail="not installed; git sources need it",
        advice="apt-get install git",
    )


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.disk(Store(tmp_path / "not/yet/there")).detail.endswith("not/yet/there")
    monkeypatch.setattr(doctor, "_ROOM", 1 << 60)
    assert doctor.disk(Store(tmp_path)).status == "warn"
