"""Spec, lock and ledger change together: under kill -9 at every step, and against rivals."""

import errno
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest

from envbuilder.model.errors import BuildError, LockError, UsageError
from envbuilder.model.reference import Digest
from envbuilder.storage import ledger
from envbuilder.storage.build_records import BuildTexts, present
from envbuilder.storage.ledger import LedgerEntry
from envbuilder.workflow.bump.transaction import finish, transaction

SOME = Digest.of(b"some")
CLEAN = multiprocessing.get_context("forkserver")  # a fork of ourselves would share our threads
CLEAN.set_forkserver_preload([__name__])


def entry(note: str) -> LedgerEntry:
    return LedgerEntry(
        time=ledger.now(), spec=SOME, lock=SOME, image=SOME, engine="embedded", good=True, note=note
    )


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "omni.yaml"
    path.write_bytes(b"old: spec\r\n")
    (tmp_path / "pylock.omni.toml").write_text("old = 'lock'\n")
    ledger.append(ledger.ledger_path(path), entry("old"))
    return path


NEW = ("new: späc\r\n", "new = 'lock'\n", ["old", "new"])
OLD = ("old: spec\r\n", "old = 'lock'\n", ["old"])
BEGUN = "the next command finishes what was begun"
TEXTS = BuildTexts(spec=NEW[0].encode(), lock=NEW[1].encode())


def state(spec: Path) -> tuple[str, str, list[str]]:
    entries, torn = ledger.read(ledger.ledger_path(spec))
    assert not torn
    lock = spec.with_name("pylock.omni.toml").read_text()
    return spec.read_bytes().decode(), lock, [each.note for each in entries]


def change(spec: Path, note: str = "new") -> None:
    with transaction(spec) as held:
        held.commit(TEXTS, entry=entry(note), over=present(spec))


def test_changes_all_three_and_leaves_nothing_else(spec: Path) -> None:
    change(spec)
    assert state(spec) == NEW
    assert sorted(path.name for path in spec.parent.iterdir()) == [
        "omni.ledger.jsonl",
        "omni.yaml",
        "pylock.omni.toml",
    ]


def test_without_commit_nothing_changes(spec: Path) -> None:
    with pytest.raises(ValueError, match="red"), transaction(spec):
        raise ValueError("red")
    assert state(spec) == OLD
    assert not finish(spec)


def _change_and_die(spec: Path, events: int) -> None:
    """Change the files, and kill this process just before its ``events``-th system call."""
    left = events

    def hook(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event in {"open", "os.rename", "os.remove", "os.truncate", "os.chmod", "fcntl.flock"}:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    change(spec)


def test_killed_at_any_moment_the_files_are_all_old_or_all_new(tmp_path: Path) -> None:
    outcomes = []
    for events in range(1, 60):
        folder = tmp_path / str(events)
        folder.mkdir()
        spec = folder / "omni.yaml"
        spec.write_bytes(OLD[0].encode())
        (folder / "pylock.omni.toml").write_text(OLD[1])
        ledger.append(ledger.ledger_path(spec), entry("old"))
        child = CLEAN.Process(target=_change_and_die, args=(spec, events))
        child.start()
        child.join()
        finish(spec)
        outcomes.append(state(spec))
        assert not (folder / ".omni.bump").exists() or state(spec) in (OLD, NEW)
        change(spec)  # nothing that was left is in the way
        assert state(spec)[:2] == NEW[:2]
        if child.exitcode == 0:
            break
    assert child.exitcode == 0, "the change takes more system calls than were tried"
    assert all(each in (OLD, NEW) for each in outcomes)
    assert OLD in outcomes
    assert outcomes.count(NEW) > 1  # some were killed after the journal was whole


def test_what_the_disk_did_not_take_is_finished_later(spec: Path) -> None:
    path = ledger.ledger_path(spec)
    lines = path.read_bytes()
    path.unlink()
    path.mkdir()  # stands in the way, as a full disk would
    with pytest.raises(BuildError) as caught:
        change(spec)
    assert caught.value.hint == f"check {spec.parent} and its permissions; {BEGUN}"
    with pytest.raises(BuildError, match="cannot write the files of omni"):
        finish(spec)
    path.rmdir()
    path.write_bytes(lines)
    assert finish(spec)
    assert state(spec) == NEW


def test_what_did_not_begin_needs_no_finishing(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="No such file") as caught:
        change(tmp_path / "nowhere" / "omni.yaml")
    assert "nothing was changed" in caught.value.hint
    assert not finish(tmp_path / "nowhere" / "omni.yaml")
    assert not finish(Path(__file__) / "omni.yaml")


def test_a_full_disk_under_the_journal_changes_nothing(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(BuildError) as caught:
        change(spec)
    assert caught.value.hint == "make room; nothing was changed"
    assert state(spec) == OLD
    assert not finish(spec)


@pytest.mark.parametrize("name", ["omni.yaml", "pylock.omni.toml"])
def test_what_was_edited_meanwhile_stays(spec: Path, name: str) -> None:
    over = present(spec)
    edited = spec.with_name(name)
    edited.write_text("edited = 'by hand'\n")
    with transaction(spec) as held, pytest.raises(LockError, match="changed meanwhile"):
        held.commit(TEXTS, entry=entry("new"), over=over)
    assert edited.read_text() == "edited = 'by hand'\n"
    assert state(spec)[2] == ["old"]
    assert not finish(spec)


def test_a_damaged_ledger_line_stops_no_change_that_was_begun(spec: Path) -> None:
    path = ledger.ledger_path(spec)
    with path.open("ab") as stream:
        stream.write(b"<<<<<<< HEAD\n")
    change(spec)
    assert (spec.read_bytes(), b"<<<<<<< HEAD" in path.read_bytes()) == (NEW[0].encode(), True)
    assert len(path.read_bytes().splitlines()) == 3
    assert not spec.with_name(".omni.bump").exists()


def test_a_torn_journal_counts_for_nothing(spec: Path) -> None:
    journal = spec.with_name(".omni.bump")
    journal.write_bytes(b"0" * 64 + b'\n{"spec": "ne')
    assert not finish(spec)
    assert state(spec) == OLD
    assert not journal.exists()


def test_two_at_once_and_the_second_is_told(spec: Path) -> None:
    with transaction(spec) as held:
        with pytest.raises(UsageError, match="another bump or rollback of omni is under way"):
            change(spec)
        held.commit(TEXTS, entry=entry("new"), over=present(spec))
    assert state(spec) == NEW


def test_another_environment_is_not_in_the_way(spec: Path) -> None:
    with transaction(spec), transaction(spec.with_name("other.yaml")):
        pass


def test_a_dead_holder_is_not_in_the_way(spec: Path) -> None:
    spec.with_name(".omni.bump").touch()
    change(spec)
    assert state(spec) == NEW


def _change_often(spec: Path, won: "multiprocessing.Queue[int]") -> None:
    count = 0
    for _ in range(30):
        try:
            change(spec, f"{os.getpid()} {count}")
            count += 1
        except UsageError:
            continue
    won.put(count)


def test_rivals_never_lose_a_line(spec: Path) -> None:
    won = CLEAN.Queue()
    rivals = [CLEAN.Process(target=_change_often, args=(spec, won)) for _ in range(3)]
    for rival in rivals:
        rival.start()
    total = sum(won.get(timeout=60) for _ in rivals)
    for rival in rivals:
        rival.join()
    assert len(state(spec)[2]) == 1 + total
    assert total > 0
