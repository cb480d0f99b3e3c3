"""Bump, history, rollback, outdated and regenerate, through the command line, on real packages."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envbuilder.model.image import canonical_json
from envbuilder.model.reference import Digest
from envbuilder.workflow.bump.transaction import transaction

pytestmark = [pytest.mark.integration]

WEB = """\
version: 1
name: web
python: "3.13"
base: {debian: trixie}
system: {packages: [python3]}
packages:
  WebOb: "==1.8.9"   # 1.8.7 imports cgi, which Python 3.13 no longer has
  tqdm: '==4.66.5'
index: {exclude_newer: 2025-07-01T00:00:00Z}
"""


@pytest.fixture(scope="module")
def built(small, tmp_path_factory):
    """Build the web environment, in the store that has the base already."""
    checkout = small.copy(tmp_path_factory.mktemp("web"))
    (checkout.folder / "lockfiles" / "web.yaml").write_text(WEB)
    checkout.run("build", "web")
    return checkout


@pytest.fixture
def web(built, tmp_path):
    """Give a fresh copy of the built environment."""
    checkout = built.copy(tmp_path)
    for path in (built.folder / "lockfiles").glob("*web*"):
        (tmp_path / "lockfiles" / path.name).write_bytes(path.read_bytes())
    return checkout


def files(checkout):
    folder = checkout.folder / "lockfiles"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_green_is_kept_in_one_package_layer(web):
    done = web.json("bump", "web", "tqdm==4.67.1")
    assert done["kept"]
    assert [(each["name"], each["why"]) for each in done["changes"]] == [("tqdm", "asked")]
    assert [layer["title"] for layer in done["layers"]] == ["tqdm 4.67.1"]
    (own,) = done["own"]
    assert own["title"] == "environment web"
    assert own["size"] < 100_000
    text = (web.folder / "lockfiles" / "web.yaml").read_text()
    assert text == WEB.replace("4.66.5", "4.67.1")
    assert web.json("build", "web", "--locked", "--no-smoke")["image"] == done["image"]
    history = web.json("history", "web")
    assert [each["good"] for each in history] == [True, True]
    assert history[1]["image"] == done["image"]


def test_red_changes_no_byte_and_keeps_the_evidence(web):
    before = files(web)
    done = web.run("bump", "web", "WebOb==1.8.7", "-o", "json", code=8)
    assert files(web) == before
    plain = json.loads(done.stdout)
    assert not plain["kept"]
    assert [each["name"] for each in plain["changes"] if each["why"] == "asked"] == ["webob"]
    report = json.loads((Path(plain["failed"]) / "report.json").read_text())
    failed = [each["name"] for each in report["checks"] if each["status"] in {"fail", "error"}]
    assert any("webob" in name.lower() for name in failed), failed


def test_rollback_goes_back_and_the_image_is_the_same(web):
    first = web.json("history", "web")[0]["image"]
    before = files(web)
    web.run("bump", "web", "tqdm==4.67.1")
    web.run("rollback", "web")
    after = files(web)
    ledger = "web.ledger.jsonl"
    assert {k: v for k, v in after.items() if k != ledger} == {
        k: v for k, v in before.items() if k != ledger
    }
    assert after[ledger].startswith(before[ledger])
    assert web.json("build", "web", "--locked", "--no-smoke")["image"] == first


def test_a_red_build_can_be_left_come_back_to_and_bisected(web):
    spec = web.folder / "lockfiles" / "web.yaml"
    spec.write_text(WEB.replace("1.8.9", "1.8.7").replace("4.66.5", "4.67.1"))
    web.run("lock", "web")
    web.run("build", "web", code=8)
    red = files(web)
    web.run("rollback", "web")
    assert spec.read_text() == WEB
    refused = web.run("rollback", "web", "2", code=2)
    assert "is not known to be good" in refused.stderr
    assert "--red" in refused.stderr
    found = web.json("bisect", "web", "--bad", "2")
    # WebOb 1.8.7 would work on, if the package that brings cgi back had not gone with 1.8.9
    assert found["guilty"] == [["legacy-cgi 2.6.3 -> (gone)"]]
    assert found["companions"] == ["webob 1.8.9 -> 1.8.7"]
    assert found["changes"] == 3
    web.run("rollback", "web", "2", "--red")
    assert spec.read_bytes() == red["web.yaml"]


KILLED = """\
import os, signal, sys
event, path = sys.argv[1:3]
del sys.argv[1:3]
def hook(seen, args):
    if seen == event and any(path in str(arg) for arg in args):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from envbuilder.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/records/built/", False),  # smoked, and about to be kept
        ("lockfiles/web.yaml", True),  # the journal is whole
        ("lockfiles/pylock.web.toml", True),
    ],
)
def test_killed_while_it_writes_all_is_old_or_all_is_new(web, path, counts):
    old = files(web)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "os.rename", path, "bump", "web", "tqdm==4.67.0"],
        cwd=web.folder,
        env={**os.environ, **web.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert bool(files(web)[".web.bump"]) is counts
    history = web.json("history", "web")  # whatever command comes next finishes what counts
    assert len(history) == 1 + counts
    if counts:
        assert files(web)["web.yaml"] == old["web.yaml"].replace(b"4.66.5", b"4.67.0")
    else:
        assert {name: files(web)[name] for name in old} == old
    web.run("build", "web", "--locked", "--no-smoke")  # spec and lock belong together


def test_two_bumps_at_once(web):
    before = files(web)
    with transaction(web.folder / "lockfiles" / "web.yaml"):
        second = web.run("bump", "web", "tqdm==4.67.1", code=2)
    assert "another bump or rollback of web is under way" in second.stderr
    assert files(web) == before


def test_a_spec_elsewhere_has_its_own_folder(web):
    folder = web.folder / "elsewhere"
    (web.folder / "lockfiles").rename(folder)
    spec = folder / "web.yaml"
    smoke = "smoke: {model: {family: qwen2_vl}, samples: [own.png]}\n"
    spec.write_text(WEB + smoke)  # looked for beside the spec
    for arguments in (
        ("bump", "-f", "elsewhere/web.yaml", "tqdm==4.67.1"),
        ("regenerate", "-f", "elsewhere/web.yaml", "--bump", "tqdm==4.67.1"),
    ):
        assert "own.png" in web.run(*arguments, code=3).stderr
    spec.write_text(WEB)
    web.run("bump", "-f", "elsewhere/web.yaml", "tqdm==4.67.1")
    assert web.json("history", "-f", "elsewhere/web.yaml")[1]["good"]
    promoting = ("promote", "-f", "elsewhere/web.yaml")
    assert "expected REF" in web.run(*promoting, code=2).stderr
    done = web.run(*promoting, "registry.example.org/web:stable", "3", code=2)
    assert "there is no entry 3" in done.stderr


@pytest.mark.parametrize(
    ("pin", "code", "says"),
    [
        ("tqdm==4.67.9", 4, "the nearest: "),
        ("tdqm==4.67.1", 2, "did you mean tqdm?"),
        ("tqdm=4.67.1", 2, "did you mean tqdm==4.67.1?"),
        ("python=3.99", 4, "no standalone build of Python 3.99"),
        ("tqdm@main", 2, "comes from an index"),
        ("tqdm==", 2, "NAME==VERSION"),
    ],
)
def test_bad_pins_say_what_would_be_good(web, pin, code, says):
    before = files(web)
    done = web.run("bump", "web", pin, code=code)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert files(web) == before


def test_a_torn_ledger_line_is_told_and_costs_nothing(web):
    path = web.folder / "lockfiles" / "web.ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"engine":"emb')
    done = web.run("history", "web")
    assert "is torn" in done.stderr
    web.run("bump", "web", "tqdm==4.67.1")
    lines = path.read_bytes().splitlines()
    assert whole.splitlines() == lines[:1]
    assert len(lines) == 2


def test_outdated_respects_the_day_of_the_spec(web):
    found = {each["name"]: each for each in web.json("outdated", "web")}
    assert found["tqdm"]["newest"] == "4.67.1"
    assert found["tqdm"]["date"].startswith("2024-11-24")
    assert found["tqdm"]["pin"] == "tqdm==4.67.1"
    assert "webob" not in found


def test_newest_and_dry_run(web):
    before = files(web)
    plain = web.json("bump", "web", "tqdm", "--dry-run")
    assert [(each["name"], each["new"]) for each in plain["changes"]] == [("tqdm", "4.67.1")]
    assert files(web) == before


def test_security_takes_the_least_version_that_closes_a_hole(web, tmp_path):
    events = [{"introduced": "0"}, {"fixed": "4.66.6"}]
    affected = {
        "package": {"ecosystem": "PyPI", "name": "tqdm"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    (tmp_path / "osv").mkdir()
    (tmp_path / "osv" / "X-1.json").write_text(json.dumps({"id": "X-1", "affected": [affected]}))
    plain = web.json("bump", "web", "--security", str(tmp_path / "osv"), "--dry-run")
    packages = [each for each in plain["changes"] if each["kind"] == "package"]
    assert [(each["name"], each["new"], each["why"]) for each in packages] == [
        ("tqdm", "4.66.6", "asked")
    ]
    (tmp_path / "empty").mkdir()
    refused = web.run("bump", "web", "--security", str(tmp_path / "empty"), code=2)
    assert "holds no *.json documents" in refused.stderr
    refused = web.run("bump", "web", "--security", str(tmp_path / "lockfiles"), code=2)
    assert "web.start.json is no OSV document" in refused.stderr


def test_regenerate_goes_on_past_failures(web):
    folder = web.folder / "lockfiles"
    (folder / "bad.yaml").write_text("version: 1\nname: bad\n")
    lock, entry = (folder / "pylock.web.toml", folder / "web.ledger.jsonl")
    record = {"spec": "version: 1\n", "lock": lock.read_text(), "entry": entry.read_text()}
    body = canonical_json(record)
    (folder / ".bad.bump").write_bytes(Digest.of(body).hex.encode() + b"\n" + body)
    assert "an axis has no values" in web.run("matrix", "web", "--axis", "", code=2).stderr
    pythons = "py311:python=3.11&base=bookworm py313:python=3.13&base=trixie"
    written = web.json("matrix", "web", "--axis", pythons, "--axis", "tqdm==4.66.6 tqdm==4.67.1")
    assert len(written) == 4
    assert 'python: "3.11"\nbase: {debian: bookworm}' in Path(web.folder / written[0]).read_text()
    for surplus in written[1:3]:
        (web.folder / surplus).unlink()
    done = web.run("regenerate", "--all", "-o", "json", "--jobs", "2", code=3)
    assert "finished a change of bad" in done.stderr
    assert (folder / "bad.yaml").read_text() == record["spec"]
    assert "bad: lockfiles/bad.yaml:1:1: " in done.stderr
    codes = {each["name"]: each["code"] for each in json.loads(done.stdout)}
    assert codes == {
        "bad": 3,
        "small": 0,
        "web": 0,
        "web-py311-tqdm-4-66-6": 0,
        "web-py313-tqdm-4-67-1": 0,
    }
    for name, python in (("web-py311-tqdm-4-66-6", "3.11"), ("web-py313-tqdm-4-67-1", "3.13")):
        locked = (folder / f"pylock.{name}.toml").read_text()
        assert f'requires-python = "=={python}.*"' in locked
