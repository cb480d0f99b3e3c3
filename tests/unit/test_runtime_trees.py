from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from envbuilder.model.errors import BuildError
from envbuilder.model.image import Image, Layer
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.runtime.cage import start_error
from envbuilder.runtime.trees import list_trees, mark_deletions, prune_trees, read_text, unpacked
from envbuilder.storage.store import Store


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


def test_a_layer_that_is_gone_is_named(tmp_path: Path) -> None:
    digest = Digest.of(b"gone")
    layer = Layer(digest=digest, size=1, diff_id=digest, title="wheel torch")
    image = Image(manifest=b"{}", config=b"{}", layers=(layer,))
    with pytest.raises(BuildError, match=r"wheel torch.*is not in the store"):
        unpacked(image, store=Store(tmp_path), progress=Silent())


def test_the_topmost_file_is_read(tmp_path: Path) -> None:
    low, middle, high = (tmp_path / name for name in "abc")
    for tree in (low, middle, high):
        (tree / "etc").mkdir(parents=True)
    (low / "etc/passwd").write_text("low")
    (middle / "etc/passwd").write_text("middle")
    (high / "etc/passwd").symlink_to("/etc/passwd")
    assert read_text((low, middle, high), "etc/passwd") == "middle"
    assert read_text((low, middle, high), "etc/group") == ""


def test_only_errors_of_the_runtime_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert start_error(log) == ""
    log.write_text('{"level":"warning","msg":"hm"}\n')
    assert start_error(log) == ""
    log.write_text('{"level":"error","msg":"no such program"}\n{"level":"warning","msg":"hm"}\n')
    assert start_error(log) == "no such program"
