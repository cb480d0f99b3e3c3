"""What the files of a project say of its environments."""

import json
from dataclasses import replace

import pytest
from msgspec import structs

from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.pylock import lock_checksum, lock_path, write_lock
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Seal
from envbuilder.model.spec_file import load
from envbuilder.storage.ledger import BuildHost, LedgerEntry, append, ledger_path
from envbuilder.workflow.status import status
from envbuilder.workflow.status_page import status_page

SPEC = """version: 1
name: mine
python: "3.13"
base: {debian: trixie}
packages: {idna: "==3.10"}
"""
IMAGE = Digest.of(b"image")
H100 = BuildHost(gpu="NVIDIA H100", driver="550.54.15", runtime="docker")


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def locked(spec):
    seal = Seal(layout=1, engine="embedded", manifest=IMAGE, config=Digest.of(b"config"), layers=())
    base = DebianBase(suite="trixie", packages=())
    lock = Lock(spec=load(spec), base=base, wheels=(), seal=seal)
    write_lock(lock_path(spec), lock)
    return lock


def _build(spec, lock: Lock, **more):
    entry = LedgerEntry(
        time="2026-01-02T03:04:05Z", spec=Digest.of(b"spec"), lock=lock_checksum(lock),
        image=IMAGE, engine="embedded", good=True,
    )  # fmt: skip
    append(ledger_path(spec), structs.replace(entry, **more))


def test_what_was_never_locked_is_missing(spec):
    found = status(spec)
    assert (found.lock, found.verdict, found.ready) == ("missing", "never built", False)


def test_a_good_image_is_good_where_it_was_green(spec, locked):
    _build(spec, locked)
    _build(spec, locked, host=H100)
    _build(spec, locked, host=H100, event="promote", note="as registry.example.com/x:stable")
    _build(spec, locked, host=H100)
    found = status(spec)
    assert found.ready
    assert found.image == IMAGE
    assert [str(place) for place in found.good_on] == [
        "CPU", "NVIDIA H100 (driver 550.54.15), docker",
    ]  # fmt: skip
    assert found.promoted == ("registry.example.com/x:stable",)


def test_a_tag_that_has_moved_on_is_no_longer_told(spec, locked):
    _build(spec, locked)
    _build(spec, locked, event="promote", note="as x:stable")
    _build(spec, locked, event="promote", note="as x:canary")
    other = replace(locked, base=DebianBase(suite="bookworm", packages=()))
    newer = Digest.of(b"newer")
    _build(spec, other, image=newer)
    _build(spec, other, image=newer, event="promote", note="as x:stable")
    assert status(spec).promoted == ("x:canary",)
    _build(spec, locked, event="promote", note="as x:stable")
    assert status(spec).promoted == ("x:canary", "x:stable")


def test_the_newest_result_counts_and_names_itself(spec, locked):
    _build(spec, locked, host=H100)
    _build(spec, locked, good=False, smoke="unproven: audio was not counted")
    found = status(spec)
    assert (found.verdict, found.ready) == ("unproven", False)
    assert found.smoke == "unproven: audio was not counted"
    _build(spec, locked, good=False, smoke="1 of 9 checks failed")
    assert status(spec).verdict == "red"


def test_builds_of_another_lock_say_nothing_of_this_one(spec, locked):
    other = replace(locked, base=DebianBase(suite="bookworm", packages=()))
    _build(spec, other, image=Digest.of(b"older"))
    assert status(spec).verdict == "never built"


def test_an_older_lock_is_stale_and_says_so(spec, locked):
    _build(spec, locked)
    spec.write_text(SPEC.replace("3.10", "3.11"))
    found = status(spec)
    assert (found.lock, found.ready) == ("stale", False)
    assert "older than its spec" in found.problem


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize("broken", ["mine.yaml", "pylock.mine.toml"])
def test_what_cannot_be_read_is_a_line_of_the_table(spec, broken):
    spec.with_name(broken).write_text("version: 2\n")
    found = status(spec)
    assert found.lock == "unreadable"
    assert broken in found.problem


@pytest.mark.usefixtures("locked")
def test_a_damaged_ledger_is_told(spec):
    ledger_path(spec).write_text("{}\n")
    found = status(spec)
    assert "mine.ledger.jsonl:1" in found.problem
    assert not found.ready


def test_the_page_escapes_what_the_files_say(spec, locked):
    _build(spec, locked, good=False, smoke="<script>1</script>", host=H100)
    page = status_page([status(spec)])
    assert "0 of 1 environments are known good" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_json_can_be_read_back(spec, locked):
    from envbuilder.cli.status import _plain

    _build(spec, locked)
    plain = json.loads(json.dumps(_plain(status(spec))))
    assert plain["image"] == str(IMAGE)
    assert plain["ready"] is True
