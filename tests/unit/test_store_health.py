"""What is told of a store on a failing disk, and of one that a build uses at the same time."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from envbuilder.layers.files import Content, files_layer
from envbuilder.model.errors import BuildError, DiskFullError
from envbuilder.model.image import Layer
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.runtime import tree_check, trees
from envbuilder.runtime.trees import tree_of, unpacked
from envbuilder.storage.store import Store
from envbuilder.workflow.prune import prune
from envbuilder.workflow.store_health import examine
from tests.contexts import context

needs_other = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def examined(store: Store, *, repair: bool = False) -> dict[str, tuple[str, ...]]:
    return {each.kind: each.damaged for each in examine(context(store), repair=repair)}


def unreadable(path: Path) -> None:
    """Let ``path`` be a file that opens, and whose first byte reads as an EIO."""
    path.unlink()
    path.symlink_to("/proc/self/mem")
    with path.open("rb", buffering=0) as file, pytest.raises(OSError, match="Errno 5"):
        file.read(1)


def test_what_the_disk_cannot_read_is_damaged_and_goes(store: Store) -> None:
    bad, good = store.add(b"bad"), store.add(b"good")
    store.put_record("kind", "bad", 1)
    store.put_record("kind", "good", 2, blobs=[good])
    record = next(path for path in store.record_files() if b'"bad"' in path.read_bytes())
    unreadable(store.path(bad))
    unreadable(record)
    found = examined(store)
    assert found["blobs"] == (str(bad),)
    assert found["records"] == (str(record),)
    assert examined(store, repair=True) == found
    assert [blob.digest for blob in store.ls()] == [good]
    assert not any(examined(store).values())
    assert store.record("kind", "good") == 2


def test_a_build_tells_which_blob_cannot_be_read(store: Store) -> None:
    bad = store.add(b"bad")
    unreadable(store.path(bad))
    for read in (store.read, Store(store.root).checked):
        with pytest.raises(BuildError, match=f"{bad} in the store is damaged") as caught:
            read(bad)
        assert "cache repair" in caught.value.hint


def test_prune_does_not_stop_at_what_cannot_be_read(store: Store) -> None:
    kept, gone = store.add(b"kept"), store.add(b"gone")
    store.put_record("kind", "key", 1, blobs=[kept])
    unreadable(store.record_files()[0])
    assert store.record("kind", "key") is None
    assert [blob.digest for blob in store.prune(keep=[kept], unused_for=-1)] == [gone]
    assert store.record_files() == []


def test_a_record_that_is_gone_is_not_damaged(store: Store) -> None:
    store.put_record("kind", "key", 1)
    (file,) = store.record_files()
    file.unlink()
    assert not store.damaged_record(file)


@needs_other
def test_what_we_may_not_read_is_not_damaged(store: Store) -> None:
    store.put_record("kind", "key", 1)
    (file,) = store.record_files()
    file.chmod(0)
    with pytest.raises(BuildError, match=f"cannot read {file}"):
        examined(store, repair=True)
    assert file.exists()


def layer_in(store: Store) -> Layer:
    return files_layer(store, {"/usr/one": Content(data=b"one")}, title="x")


def test_a_tree_that_the_disk_cannot_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_in(store)
    (tree,) = unpacked((layer,), store=store, progress=Silent())
    opened = Path.open

    def fail(path: Path, *args: Any, **options: Any) -> Any:
        if path.is_relative_to(tree):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", fail)
    assert examined(store, repair=True)["unpacked layers"] == (str(layer.digest),)
    assert not tree.exists()


def test_a_full_disk_says_nothing_of_a_tree(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked((layer_in(store),), store=store, progress=Silent())

    def fail(*_: object) -> None:
        raise DiskFullError("full")

    monkeypatch.setattr(tree_check, "unpack_layer", fail)
    with pytest.raises(DiskFullError):
        examined(store)


class Watched(Store):
    """A store that says when somebody asks for the lock of a tree."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = threading.Event()

    def lock(
        self, name: str, waiting: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        if name.startswith("tree-"):
            self.asked.set()
        return super().lock(name, waiting)


@pytest.fixture
def beside(store: Store) -> Iterator[tuple[Watched, threading.Thread]]:
    """Make a repair of the same store, for a thread to run."""
    watched = Watched(store.root)
    thread = threading.Thread(target=examined, args=(watched,), kwargs={"repair": True})
    yield watched, thread
    if thread.ident is not None:
        thread.join()


def test_a_repair_leaves_the_tree_that_a_build_makes(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    beside: tuple[Watched, threading.Thread],
) -> None:
    """A tree that stands there, and is recorded only then, is not damaged in between."""
    watched, repair = beside
    layer, record = layer_in(store), store.put_record

    def late(*args: Any, **options: Any) -> None:
        assert tree_of(store, layer.digest).exists()
        repair.start()
        assert watched.asked.wait(60)
        record(*args, **options)

    monkeypatch.setattr(store, "put_record", late)
    (tree,) = unpacked((layer,), store=store, progress=Silent())
    repair.join()
    assert tree.exists()
    assert trees.is_sound(Store(store.root), layer.digest)


def test_after_all_was_pruned_nothing_is_left_but_what_holds_stand_in(store: Store) -> None:
    unpacked((layer_in(store),), store=store, progress=Silent())
    for blob in store.ls():
        os.utime(store.path(blob.digest), (0, 0))
    prune(store, None, reports=0, sources=0)
    left = [path for path in store.root.rglob("*") if not path.is_dir()]
    assert left == [store.root / "held"]  # without it, who runs and who prunes had two


def test_a_tree_that_is_gone_is_not_damaged(store: Store) -> None:
    assert not tree_check.is_damaged(store, Digest.of(b"gone"))


def test_what_is_held_stays_held_after_a_prune(store: Store) -> None:
    layer = layer_in(store)
    os.utime(store.path(layer.digest), (0, 0))
    with store.holds.of([layer.digest]):
        prune(store, None, reports=0, sources=0)
        assert store.has(layer.digest)
        prune(store, None, reports=0, sources=0)  # the first one has removed what nobody holds
        assert store.has(layer.digest)
    prune(store, None, reports=0, sources=0)
    assert not store.has(layer.digest)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EROFS, BuildError), (errno.ENOSPC, DiskFullError), (errno.EMFILE, BuildError)],
)
def test_what_the_machine_refuses_damages_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[BuildError]
) -> None:
    """To look at a tree, its layer is unpacked once more, which a read-only store cannot take."""
    (tree,) = unpacked((layer_in(store),), store=store, progress=Silent())

    def refuse(_: Store) -> Any:
        raise OSError(number, os.strerror(number), str(store.root))

    monkeypatch.setattr(Store, "scratch", refuse)
    with pytest.raises(kind) as caught:
        examined(store, repair=True)
    assert str(store.root) in caught.value.message
    assert tree.exists()


def test_a_copy_of_a_store_is_not_damaged(store: Store, tmp_path: Path) -> None:
    """Its trees have other inodes: the next run makes them anew, but nothing is wrong with them."""
    unpacked((layer_in(store),), store=store, progress=Silent())
    copy = Store(shutil.copytree(store.root, tmp_path / "copy", symlinks=True))
    assert not any(examined(copy).values())
    (program,) = (path for path in copy.root.rglob("one") if path.is_file())
    program.chmod(0o600)
    assert len(examined(copy)["unpacked layers"]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_was_given_away_is_damaged(store: Store) -> None:
    (tree,) = unpacked((layer_in(store),), store=store, progress=Silent())
    os.chown(tree / "usr/one", 12345, 0)
    assert len(examined(store)["unpacked layers"]) == 1
