"""A text of an image, read from its trees: what a container would see, and nothing of this host."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuilder.model.errors import SmokeError
from envbuilder.runtime.merged import read_text

Trees = tuple[Path, Path, Path]


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    """Make three trees, lowest first; the lower two have an etc/passwd."""
    low, middle, high = (tmp_path / name for name in "abc")
    for tree in (low, middle, high):
        tree.mkdir()
    for tree in (low, middle):
        (tree / "etc").mkdir()
        (tree / "etc/passwd").write_text(tree.name)
    return low, middle, high


def opaque(folder: Path) -> None:
    folder.mkdir()
    os.setxattr(folder, "user.overlay.opaque", b"y")


def deleted(place: Path) -> None:
    os.mknod(place, stat.S_IFCHR, 0)


def changed(change: Callable[[Path], object]) -> Callable[[Path], object]:
    def in_new_folder(tree: Path) -> None:
        (tree / "etc").mkdir()
        change(tree / "etc/passwd")

    return in_new_folder


def test_the_topmost_file_is_read(trees: Trees) -> None:
    assert read_text(trees, "etc/passwd") == "b"
    assert read_text(trees, "etc/group") == ""
    assert read_text(trees, "etc") == ""
    assert read_text((), "etc/passwd") == ""


@pytest.mark.parametrize(
    "change",
    [
        changed(deleted),
        changed(Path.mkdir),
        changed(lambda place: place.symlink_to("/etc/passwd")),
        changed(lambda place: place.symlink_to("nowhere")),
        changed(os.mkfifo),
        lambda tree: deleted(tree / "etc"),
        lambda tree: opaque(tree / "etc"),
        lambda tree: (tree / "etc").write_text("a file"),
        lambda tree: (tree / "etc").symlink_to("/etc"),
        lambda tree: (tree / "etc").symlink_to("/nowhere"),
        lambda tree: (tree / "etc").symlink_to("../../../../../../etc"),
    ],
)
def test_what_hides_the_lower_ones(trees: Trees, change: Callable[[Path], object]) -> None:
    change(trees[2])
    assert read_text(trees, "etc/passwd") == ""


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("etc/passwd", "/usr/lib/passwd"),
        ("etc/passwd", "../usr/lib/passwd"),
        ("etc/passwd", "../../../usr/./lib//passwd"),
        ("etc", "usr/lib"),
        ("etc", "/usr/lib"),
        ("etc", "way"),
    ],
)
def test_links_lead_through_all_trees_of_the_image(trees: Trees, place: str, target: str) -> None:
    low, _, high = trees
    (low / "usr/lib").mkdir(parents=True)
    (low / "usr/lib/passwd").write_text("linked")
    (low / "way").symlink_to("/usr/lib")
    (high / place).parent.mkdir(exist_ok=True)
    (high / place).symlink_to(target)
    assert read_text(trees, "etc/passwd") == "linked"


def test_links_without_end(trees: Trees) -> None:
    for number in range(40):
        (trees[2] / f"l{number}").symlink_to("x/../" * 780 + f"l{number + 1}")
    (trees[2] / "x").mkdir()
    assert read_text(trees, "l0/passwd") == ""


@pytest.mark.parametrize("size", [(1 << 20) + 1, 1 << 34])
def test_no_list_of_users_has_as_much(trees: Trees, size: int) -> None:
    os.truncate(trees[1] / "etc/passwd", size)
    with pytest.raises(SmokeError, match=r"/etc/passwd of the image has more than 1 MiB"):
        read_text(trees, "etc/passwd")


def test_a_long_list_of_users(trees: Trees) -> None:
    (trees[1] / "etc/passwd").write_bytes(b"x" * (1 << 20))
    assert len(read_text(trees, "etc/passwd")) == 1 << 20
