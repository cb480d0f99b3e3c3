from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from envbuilder.layers.files import Content, files_layer
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Image, Layer
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.runtime import Command, Overlay, oci, tree_check
from envbuilder.runtime.cage import start_error
from envbuilder.runtime.oci import OciRuntime
from envbuilder.runtime.pump import ProgramResult
from envbuilder.runtime.tree_check import is_damaged
from envbuilder.runtime.trees import (
    drop_tree,
    list_layers,
    list_trees,
    mark_deletions,
    prune_trees,
    unpacked,
)
from envbuilder.storage.holds import Holds
from envbuilder.storage.store import Store

ROOT = Path(__file__).parents[2]


def test_whiteouts_become_overlay_marks(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/.wh.games").touch()
    (tmp_path / "usr/lib/.wh..wh..opq").touch()
    (tmp_path / "usr/lib/kept").touch()
    mark_deletions(tmp_path)
    facts = (tmp_path / "usr/games").stat()
    assert stat.S_ISCHR(facts.st_mode)
    assert facts.st_rdev == 0
    assert os.getxattr(tmp_path / "usr/lib", "user.overlay.opaque") == b"y"
    assert os.listdir(tmp_path / "usr/lib") == ["kept"]  # noqa: PTH208
    assert not list(tmp_path.rglob(".wh.*"))


def test_what_a_layer_puts_in_the_place_of_what_it_deletes_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("new")
    (tmp_path / ".wh.folder").touch()
    (tmp_path / ".wh.file").touch()
    mark_deletions(tmp_path)
    assert os.getxattr(tmp_path / "folder", "user.overlay.opaque") == b"y"
    assert (tmp_path / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_whiteout_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".wh.").touch()
    with pytest.raises(BuildError, match="names nothing"):
        mark_deletions(tmp_path)


def test_a_read_only_directory_stays_one(tmp_path: Path) -> None:
    (tmp_path / ".wh.gone").touch()
    tmp_path.chmod(0o555)
    mark_deletions(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o555
    assert stat.S_ISCHR((tmp_path / "gone").stat().st_mode)


def test_trees_go_with_their_layers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = store.add(b"a layer")
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o555)
    for name in (kept.hex, "0" * 64):
        (tmp_path / "trees" / name / "usr/lib").mkdir(parents=True)
        (tmp_path / "trees" / name / "usr/lib/file").touch()
        (tmp_path / "trees" / name / "usr/lib").chmod(0)
        (tmp_path / "trees" / name / "outside").symlink_to(outside)
        (tmp_path / "trees" / name).chmod(0o555)
    (tmp_path / "trees" / kept.hex / "file").write_bytes(b"x" * 10_000)
    assert list_trees(store).keys() == {kept, Digest("0" * 64)}
    assert list_trees(store)[kept] > 10_000
    assert prune_trees(store) == 1
    assert [tree.name for tree in (tmp_path / "trees").iterdir()] == [kept.hex]
    assert prune_trees(store) == 0
    assert list((tmp_path / "tmp").iterdir()) == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o555


def in_use(image: Image, store: Store) -> AbstractContextManager[tuple[Path, ...]]:
    return OciRuntime(program=Path("crun"), store=store).in_use(image.layers, progress=Silent())


def test_a_tree_that_is_used_stays_with_its_layer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = (image_in(store, {"file": data}) for data in (b"one", b"two"))
    with in_use(one, store) as (tree,):
        unpacked(two.layers, store=store, progress=Silent())
        assert [blob.digest for blob in Store(tmp_path).prune(keep=[], unused_for=0)] == [
            two.layers[0].digest
        ]
        store.discard(one.layers[0].digest)  # as a prune would that looked a moment earlier
        assert prune_trees(Store(tmp_path)) == 1
        assert (tree / "file").read_bytes() == b"one"
    assert prune_trees(Store(tmp_path)) == 1
    assert not tree.exists()


@pytest.mark.parametrize("repaired", [False, True])
def test_a_tree_that_is_used_gives_way_with_all_its_files(tmp_path: Path, repaired: bool) -> None:
    store = Store(tmp_path)
    image = image_in(store, {"file": b"good"})
    with in_use(image, store) as (tree,):
        root = os.open(tree, os.O_DIRECTORY)  # as a mount has it
        (tree / "added").touch()
        if repaired:
            drop_tree(Store(tmp_path), image.layers[0].digest)
        unpacked(image.layers, store=Store(tmp_path), progress=Silent())
        prune_trees(Store(tmp_path))
        assert sorted(os.listdir(tree)) == ["file"]  # noqa: PTH208
        assert sorted(os.listdir(root)) == ["added", "file"]  # noqa: PTH208
    prune_trees(Store(tmp_path))
    assert os.listdir(root) == []  # noqa: PTH208
    os.close(root)
    assert list_layers(store) == [image.layers[0].digest]
    assert list((tmp_path / "trees-aside").iterdir()) == []


def test_a_tree_that_a_prune_took_is_made_again_in_the_same_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    image = image_in(store, {"file": b"good"})
    unpacked(image.layers, store=store, progress=Silent())
    drop_tree(Store(tmp_path), image.layers[0].digest)
    with in_use(image, store) as (tree,):
        assert (tree / "file").read_bytes() == b"good"


def test_a_tree_that_a_prune_takes_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_in(Store(tmp_path), {"file": b"good"})
    holding, taken = Holds.of, []

    def slow(self: Holds, things: Iterable[Digest]) -> AbstractContextManager[None]:
        if not taken:
            taken.append(True)
            drop_tree(Store(tmp_path), image.layers[0].digest)
        return holding(self, things)

    monkeypatch.setattr(Holds, "of", slow)
    with in_use(image, Store(tmp_path)) as (tree,):
        assert (tree / "file").read_bytes() == b"good"
    assert taken


def test_the_layers_of_an_overlay_stay_while_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    image, above = (image_in(store, {f"opt/{name}": b"x"}) for name in "ab")
    parts = tuple((each.layers[0], "opt") for each in (image, above))
    command = Command(args=("true",), overlays=(Overlay(parts=parts, target="/opt"),))
    seen: set[Digest] = set()

    def caged(job: dict[str, Any], _: Command) -> tuple[dict[str, Any], ProgramResult]:
        ((lower, upper),) = job["overlays"]
        assert sorted(os.listdir(lower) + os.listdir(upper)) == ["a", "b"]  # noqa: PTH208
        seen.update(Store(tmp_path).holds.held(layer.digest for layer, _ in parts))
        return {"exit_code": 0}, ProgramResult(
            stdout=b"", stderr=b"", truncated=False, timed_out=False
        )

    monkeypatch.setattr(oci, "_caged", caged)
    runtime = OciRuntime(program=Path("crun"), store=store)
    runtime.run(image, command, progress=Silent())
    digests = {layer.digest for layer, _ in parts}
    assert seen == digests
    assert store.holds.held(digests) == set()


def test_a_layer_that_is_gone_is_named(tmp_path: Path) -> None:
    digest = Digest.of(b"gone")
    layer = Layer(digest=digest, size=1, diff_id=digest, title="wheel torch")
    image = Image(manifest=b"{}", config=b"{}", layers=(layer,))
    with pytest.raises(BuildError, match=r"wheel torch.*is not in the store"):
        unpacked(image.layers, store=Store(tmp_path), progress=Silent())


def test_only_errors_of_the_runtime_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert start_error(log) == ""
    log.write_text('{"level":"warning","msg":"hm"}\n')
    assert start_error(log) == ""
    log.write_text('{"level":"error","msg":"no such program"}\n{"level":"warning","msg":"hm"}\n')
    assert start_error(log) == "no such program"


def image_in(store: Store, files: dict[str, bytes]) -> Image:
    contents = {f"/{path}": Content(data=data) for path, data in files.items()}
    made = files_layer(store, contents, title="x")
    return Image(manifest=b"{}", config=b"{}", layers=(made,))


def damage_bytes(file: Path) -> None:
    facts = file.stat()
    file.write_bytes(b"evil")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def damage_mode(file: Path) -> None:
    file.chmod(0o4755)


def damage_name(file: Path) -> None:
    file.rename(file.with_name("moved"))


def damage_by_adding(file: Path) -> None:
    (file.parent / "added").touch()


DAMAGES = [damage_bytes, damage_mode, damage_name, damage_by_adding, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_tree_that_changed_is_made_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    image = image_in(Store(tmp_path), {"usr/lib/one.so": b"good", "usr/bin/two": b"more"})
    (tree,) = unpacked(image.layers, store=Store(tmp_path), progress=Silent())
    inode = (tree / "usr/bin/two").stat().st_ino
    unpacked(image.layers, store=Store(tmp_path), progress=Silent())
    assert (tree / "usr/bin/two").stat().st_ino == inode, "a sound tree stays"
    damage(tree / "usr/lib/one.so")
    assert is_damaged(Store(tmp_path), image.layers[0].digest)
    unpacked(image.layers, store=Store(tmp_path), progress=Silent())
    assert (tree / "usr/lib/one.so").read_bytes() == b"good"
    assert sorted(path.name for path in (tree / "usr/lib").iterdir()) == ["one.so"]
    assert stat.S_IMODE((tree / "usr/lib/one.so").stat().st_mode) == 0o644
    assert not is_damaged(Store(tmp_path), image.layers[0].digest)


def test_what_a_disk_does_behind_the_times_is_found_by_comparing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_in(Store(tmp_path), {"usr/lib/one.so": b"good"})
    (tree,) = unpacked(image.layers, store=Store(tmp_path), progress=Silent())
    damage_bytes(tree / "usr/lib/one.so")
    monkeypatch.setattr(tree_check, "is_sound", lambda *_: True)
    assert is_damaged(Store(tmp_path), image.layers[0].digest)
    monkeypatch.undo()
    drop_tree(Store(tmp_path), image.layers[0].digest)
    unpacked(image.layers, store=Store(tmp_path), progress=Silent())
    assert not is_damaged(Store(tmp_path), image.layers[0].digest)


def test_a_tree_without_its_record_is_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    image = image_in(store, {"file": b"good"})
    foreign = tmp_path / "trees" / image.layers[0].digest.hex
    foreign.mkdir(parents=True)
    (foreign / "file").write_text("evil")
    (tree,) = unpacked(image.layers, store=store, progress=Silent())
    assert (tree / "file").read_bytes() == b"good"
    assert stat.S_IMODE(tree.parent.stat().st_mode) == 0o700, "images hold set-id programs"


def test_one_tree_does_not_wait_for_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = (image_in(store, {"file": data}) for data in (b"one", b"two"))
    with store.lock(f"tree-{one.layers[0].digest.hex}"):
        (tree,) = unpacked(two.layers, store=store, progress=Silent())
    assert (tree / "file").read_bytes() == b"two"


def test_a_killed_unpacking_leaves_nothing_for_long(tmp_path: Path) -> None:
    store = Store(tmp_path)
    image = image_in(store, {f"file{n}": bytes([n]) * 100_000 for n in range(200)})
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from envbuilder.layers import unpack\n"
        "from envbuilder.model.image import *; from envbuilder.model.progress import Silent\n"
        "from envbuilder.model.reference import Digest\n"
        "from envbuilder.runtime.trees import unpacked\n"
        "from envbuilder.storage.store import Store\n"
        "def count(event, arguments, seen=[]):\n"
        "    seen += [1] if 'file' in str(arguments) and event == 'open' else []\n"
        "    if len(seen) == 100:\n"
        "        seen += [1]  # os.kill is an event, too\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"layer = Layer(digest=Digest({image.layers[0].digest.hex!r}), size=1,\n"
        f"    diff_id=Digest({image.layers[0].diff_id.hex!r}))\n"
        "image = Image(manifest=b'{}', config=b'{}', layers=(layer,))\n"
        "sys.addaudithook(count)\n"
        "unpacked(image.layers, store=Store(Path(sys.argv[1])), progress=Silent())\n"
    )
    command = [sys.executable, "-c", code, tmp_path]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    (tree,) = unpacked(image.layers, store=store, progress=Silent())
    assert len(list(tree.iterdir())) == 200
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a store away")
def test_root_keeps_trees_of_its_own_in_a_users_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    image = image_in(store, {"file": b"good"})
    os.chown(tmp_path, 12345, 12345)
    (tree,) = unpacked(image.layers, store=store, progress=Silent())
    assert tree.parent.name == "trees-0"
    assert list_trees(store).keys() == {image.layers[0].digest}
    os.chown(tmp_path, 0, 0)
    assert list_trees(store) == {}
