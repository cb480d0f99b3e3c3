"""Texts of builds: kept in the store, given back byte for byte."""

import os
from pathlib import Path

import pytest

from envbuilder.model.reference import Digest
from envbuilder.storage.build_records import BuildTexts, forget, keep, kept_blobs, recall
from envbuilder.storage.ledger import LedgerEntry
from envbuilder.storage.store import Store

LOCK = Digest.of(b"the lock, unsealed")
KEPT = BuildTexts(spec="näme: x\r\n".encode(), lock=b"lock-version = '1.0'\n")


def test_gives_back_what_was_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keep(store, LOCK, KEPT)
    assert recall(store, LOCK) == KEPT


def test_knows_what_it_never_had(tmp_path: Path) -> None:
    assert recall(Store(tmp_path), LOCK) is None


def test_what_is_damaged_counts_as_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keep(store, LOCK, KEPT)
    damaged = store.path(Digest.of(KEPT.lock))
    damaged.chmod(0o644)
    damaged.write_bytes(b"lock-version = '9.9'\n")
    assert recall(store, LOCK) is None


def test_names_its_blobs_for_prune(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keep(store, LOCK, KEPT)
    entry = LedgerEntry(
        time="2025-06-29T12:00:00Z", spec=LOCK, lock=LOCK, image=LOCK, engine="embedded", good=True
    )
    needed = kept_blobs(store, [entry])
    assert needed == {Digest.of(KEPT.spec), Digest.of(KEPT.lock)}
    store.prune(keep=needed, unused_for=0)
    assert recall(store, LOCK) == KEPT
    store.prune(keep=(), unused_for=0)
    assert recall(store, LOCK) is None


def test_forgets_old_reports_and_no_young_ones(tmp_path: Path) -> None:
    folder, journal = tmp_path / "failed" / "web-1", tmp_path / "bisect" / "web-2.jsonl"
    for path in (folder / "report.json", journal):
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    os.utime(folder, (0, 0))
    assert forget(Store(tmp_path), days=30) == 1
    assert (folder.exists(), journal.exists()) == (False, True)
    assert forget(Store(tmp_path), days=0) == 1
    assert not journal.exists()


def test_what_another_prune_took_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.log", "two.log"):
        (tmp_path / "logs").mkdir(exist_ok=True)
        (tmp_path / "logs" / name).write_text("x")
    stat = Path.stat

    def lose(path: Path, **options: bool) -> os.stat_result:
        found = stat(path, **options)
        if path.name == "one.log":
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "stat", lose)
    assert forget(Store(tmp_path), days=0) == 1
    assert not list((tmp_path / "logs").iterdir())
