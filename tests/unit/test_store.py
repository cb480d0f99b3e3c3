"""The content store, alone and shared: real processes, real kills."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from envbuilder.model.errors import BuildError, UsageError
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def leftovers(store: Store) -> list[Path]:
    return list(store.root.glob("tmp/*"))


def damage(store: Store, digest: Digest) -> None:
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"damaged")


def python(code: str, store: Store) -> subprocess.Popen[str]:
    """Run ``code`` in another process with ``store`` open."""
    start = f"from envbuilder.storage.store import Store; store = Store(Path({str(store.root)!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", f"from pathlib import Path\nimport sys, time\n{start}\n{code}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_blob_is_found_by_its_digest(store: Store) -> None:
    digest = store.add(b"hello")
    assert digest == Digest.of(b"hello")
    assert store.has(digest)
    assert store.read(digest) == b"hello"
    with store.open(digest) as stream:
        assert stream.read(2) == b"he"
    assert store.path(digest).read_bytes() == b"hello"
    assert store.add(b"hello") == digest
    assert [blob.size for blob in store.ls()] == [5]
    assert leftovers(store) == []


def test_a_blob_does_not_depend_on_the_umask(store: Store) -> None:
    before = os.umask(0o077)
    try:
        digest = store.add(b"hello")
    finally:
        os.umask(before)
    assert store.path(digest).stat().st_mode & 0o777 == 0o444


def test_pieces_are_committed_or_vanish(store: Store) -> None:
    with store.writer() as out:
        out.write(b"hel")
        out.write(b"lo")
        assert out.size == 5
        assert out.commit(Digest.of(b"hello")) == Digest.of(b"hello")
    with store.writer() as out:
        out.write(b"dropped")
    with store.writer() as out:
        out.write(b"wrong")
        with pytest.raises(BuildError, match="expected sha256:"):
            out.commit(Digest.of(b"right"))
    assert [blob.digest for blob in store.ls()] == [Digest.of(b"hello")]
    assert leftovers(store) == []


def test_a_missing_blob(store: Store) -> None:
    with pytest.raises(BuildError, match="is not in the store") as caught:
        store.read(Digest.of(b"nothing"))
    assert caught.value.hint


def test_a_damaged_blob_is_noticed_and_removed(store: Store) -> None:
    good, bad = store.add(b"good"), store.add(b"bad")
    damage(store, bad)
    with pytest.raises(BuildError, match="damaged") as caught:
        store.read(bad)
    assert "cache repair" in caught.value.hint
    with store.open(bad) as stream:
        assert stream.read(3) == b"dam"
        with pytest.raises(BuildError, match="damaged"):
            stream.read()
    assert store.damaged(bad)
    assert not store.damaged(good)


def test_adopting_checks_and_leaves_the_file(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    digest = store.adopt(file, Digest.of(b"mine"))
    file.write_bytes(b"changed")
    assert store.read(digest) == b"mine"
    with pytest.raises(BuildError):
        store.adopt(file, Digest.of(b"other"))
    assert len(store.ls()) == 1


def test_a_record_stands_on_its_blobs(store: Store) -> None:
    blob = store.add(b"blob")
    store.put_record("kind", "key/with any\ncharacters", {"a": [1]}, blobs=[blob])
    assert store.record("kind", "key/with any\ncharacters") == {"a": [1]}
    assert store.record("kind", "other") is None
    assert store.record("other", "key/with any\ncharacters") is None
    store.discard(blob)
    assert store.record("kind", "key/with any\ncharacters") is None


def test_a_torn_record_is_no_record(store: Store) -> None:
    store.put_record("kind", "key", 1)
    (file,) = store.root.glob("records/kind/*.json")
    file.chmod(0o644)
    file.write_bytes(b'{"key": "ke')
    assert store.record("kind", "key") is None
    store.put_record("kind", "key", 2)
    assert store.record("kind", "key") == 2


def test_pruning_spares_what_is_kept_needed_or_fresh(store: Store) -> None:
    kept, needed, old, fresh = (store.add(text) for text in (b"kept", b"needed", b"old", b"fresh"))
    store.put_record("kind", "one", 1, blobs=[kept, needed])
    store.put_record("kind", "two", 2, blobs=[old, needed])
    for digest in (kept, needed, old):
        os.utime(store.path(digest), (0, 0))
    assert [blob.digest for blob in store.prune(keep=[kept])] == [old]
    assert {blob.digest for blob in store.ls()} == {kept, needed, fresh}
    assert store.record("kind", "one") == 1
    assert len(list(store.root.glob("records/kind/*.json"))) == 1
    assert len(store.prune(keep=[], unused_for=0)) == 3
    assert store.ls() == []


def test_a_blob_is_pruned_as_soon_as_its_time_is_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [store.add(text) for text in (b"an hour ago", b"a second later")]
    for number, digest in enumerate(digests):
        os.utime(store.path(digest), (1000 + number, 1000 + number))
    monkeypatch.setattr(time, "time", lambda: 4600.0)
    assert [blob.digest for blob in store.prune(keep=[], unused_for=3600)] == digests[:1]


def test_using_a_blob_keeps_it_fresh(store: Store) -> None:
    digest = store.add(b"blob")
    store.put_record("kind", "key", 1, blobs=[digest])
    os.utime(store.path(digest), (0, 0))
    assert store.record("kind", "key") == 1
    assert store.prune(keep=[]) == []


def test_scratch_goes_at_the_end(store: Store) -> None:
    with store.scratch() as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
        store.add(b"another write looks for what is abandoned")
        assert folder.exists()
    assert leftovers(store) == []


def test_scratch_goes_read_only_folders_included(store: Store) -> None:
    with store.scratch() as folder:
        (folder / "sub" / "deep").mkdir(parents=True)
        (folder / "sub" / "deep").chmod(0)
        (folder / "sub").chmod(0o555)
    assert leftovers(store) == []


def test_where_the_default_store_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ENVBUILDER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Store.default().root == tmp_path / ".cache" / "envbuilder"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Store.default().root == tmp_path / "xdg" / "envbuilder"
    monkeypatch.setenv("ENVBUILDER_CACHE", str(tmp_path / "own"))
    assert Store.default().root == tmp_path / "own"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "ENVBUILDER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # as in a CI's container
    with pytest.raises(UsageError, match="no home folder") as caught:
        Store.default()
    assert caught.value.hint == "set ENVBUILDER_CACHE"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot write at") as caught:
        Store(tmp_path / "file" / "store").add(b"x")
    assert "ENVBUILDER_CACHE" in caught.value.hint


def test_a_killed_writer_leaves_nothing_for_long(store: Store) -> None:
    code = (
        "with store.writer() as out, store.scratch() as folder:\n"
        "    (folder / 'file').write_text('x')\n"
        "    out.write(b'half'); print('ready', flush=True); time.sleep(60)"
    )
    with python(code, store) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(leftovers(store)) == 2
        store.add(b"meanwhile")
        assert len(leftovers(store)) == 2, "its owner lives"
        process.send_signal(signal.SIGKILL)
    store.add(b"afterwards")
    assert leftovers(store) == []
    assert {blob.digest for blob in store.ls()} == {
        Digest.of(b"meanwhile"),
        Digest.of(b"afterwards"),
    }


def test_a_killed_owner_frees_its_lock(store: Store) -> None:
    code = "with store.lock('build'):\n    print('locked', flush=True); time.sleep(60)"
    with python(code, store) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        process.send_signal(signal.SIGKILL)
    with store.lock("build"):
        pass


def test_a_lock_is_for_one_at_a_time(store: Store) -> None:
    code = (
        "asked = lambda: print('waits', flush=True)\n"
        "for turn in range(100):\n"
        "    with store.lock('build', None if turn else asked):\n"
        "        (store.root / 'inside').touch(exist_ok=False)\n"
        "        (store.root / 'inside').unlink()"
    )
    with store.lock("build"):
        processes = [python(code, store) for _ in range(3)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
        assert not (store.root / "inside").exists()
    for process in processes:
        process.communicate()
        assert process.returncode == 0


def test_locks_that_nobody_holds_are_pruned(store: Store) -> None:
    with store.lock("free"):
        pass
    with store.lock("held"):
        store.prune_locks()
        assert [path.name for path in (store.root / "locks").iterdir()] == ["held"]


def test_who_waited_for_a_lock_that_was_pruned_holds_a_new_one(store: Store) -> None:
    """Else the next one would find no lock file, make one, and be inside as well."""
    other = ExitStack()
    other.enter_context(store.lock("build"))

    def waiting() -> None:
        other.close()
        store.prune_locks()

    with store.lock("build", waiting):
        assert (store.root / "locks" / "build").exists()


def test_who_waits_for_a_lock_may_give_up(store: Store) -> None:
    asked = []

    def waiting() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    code = "with store.lock('build'):\n    print('locked', flush=True); time.sleep(60)"
    with python(code, store) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(KeyboardInterrupt), store.lock("build", waiting):
            pass
        process.kill()
    with store.lock("build", waiting):  # nobody holds it: nobody is asked
        pass
    assert len(asked) == 3


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_lock_name_is_plain(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="lock name"), store.lock(name):
        pass


def test_many_processes_write_the_same_and_other_blobs(store: Store) -> None:
    code = (
        "for number in range(60):\n"
        "    store.add(str(number % 40).encode() * 1000)\n"
        "    store.put_record('kind', str(number % 7), number % 7)"
    )
    processes = [python(code, store) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    for process in processes:
        process.communicate()
    assert len(store.ls()) == 40
    assert not any(store.damaged(blob.digest) for blob in store.ls())
    assert [store.record("kind", str(number)) for number in range(7)] == list(range(7))
    assert leftovers(store) == []
