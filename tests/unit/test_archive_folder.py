"""A project's folder as one archive: what goes into it, what does not, and what may not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from envbuilder.layers import bounds
from envbuilder.model.errors import BuildError, ResolutionError
from envbuilder.model.reference import Digest
from envbuilder.resolve.archives import folder as folders
from envbuilder.resolve.archives.archive import Archive
from envbuilder.resolve.archives.folder import changed_files, pack_project
from tests.sdists import project


@pytest.fixture
def mine(tmp_path) -> Path:
    folder = tmp_path / "mine"
    for path, content in {**project("mine"), "src/mine/a.py": b"a", "run.sh": b"echo"}.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    (folder / "run.sh").chmod(0o755)
    return folder


def packed(folder: Path) -> tuple[bytes, dict[str, str]]:
    pieces: list[bytes] = []
    files = pack_project(folder, "mine", pieces.append)
    return b"".join(pieces), {file.path: str(file.state) for file in files}


def litter(folder: Path) -> None:
    """Leave what tools leave."""
    for path in (
        ".git/HEAD", "__pycache__/a.pyc", "src/mine/a.pyc", ".venv/x", "env/pyvenv.cfg",
        "env/bin/x", "cache/CACHEDIR.TAG", "cache/x", "mine.egg-info/PKG-INFO", "build/lib/a.py",
        "dist/a.whl", ".pytest_cache/x", "node_modules/x", "pylock.x.toml",
        "x.ledger.jsonl", "x.answers.json", "x.start.json", "wheels/x.whl", ".hypothesis/x",
        ".coverage", ".coverage.host.1", "src/mine/node_modules/x/index.js", "htmlcov/index.html",
    ):  # fmt: skip
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"litter")
    (folder / "htmlcov/.gitignore").write_text("# Created by coverage.py\n*\n")


def test_the_same_files_give_the_same_bytes_whatever_tools_left_beside_them(mine, tmp_path):
    before, files = packed(mine)
    assert set(files) == {*project("mine"), "src/mine/a.py", "run.sh"}
    litter(mine)
    os.utime(mine / "code.py", (1, 1))
    (mine / "code.py").chmod(0o600)
    (mine / "empty").mkdir()
    assert packed(mine)[0] == before
    path = tmp_path / "tar"
    path.write_bytes(before)
    archive = Archive(path=path, filename="mine.tar", sha256=Digest.of(before))
    archive.write(out := tmp_path / "out")
    assert (out / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (out / "src/mine/a.py").read_bytes() == b"a"


def test_a_package_that_is_called_build_is_no_litter(mine):
    (mine / "build").mkdir()
    (mine / "build/__init__.py").write_text("")
    assert "build/__init__.py" in packed(mine)[1]


def test_what_git_ignores_counts_as_builds_read_it(mine):
    (mine / ".gitignore").write_text("*.py\n/generated/\n")
    (mine / "generated").mkdir()
    (mine / "generated/version.py").write_text("1.0")
    (mine / "kept").mkdir()
    (mine / "kept/.gitignore").write_text("*\n!.gitignore\n")
    (mine / "kept/weights").write_text("w")
    found = packed(mine)[1]
    assert {".gitignore", "generated/version.py", "kept/weights", "kept/.gitignore"} <= set(found)


def test_what_the_spec_excludes_is_no_part_of_it(mine):
    for path in ("data/a.bin", "src/mine/b.log", "src/data/c", "docs/keep.md", "docs/drop.md"):
        (mine / path).parent.mkdir(exist_ok=True)
        (mine / path).write_text("x")
    (mine / "linked").symlink_to("src")  # left out as a whole: nothing lies below a link
    patterns = ["/data", "*.log", "docs/", "linked", "!docs/keep.md"]
    files = pack_project(mine, "mine", lambda _: None, exclude=patterns)
    assert {file.path for file in files} == {
        *project("mine"), "src/mine/a.py", "run.sh", "src/data/c", "docs/keep.md",
    }  # fmt: skip
    with (mine / "data/huge").open("wb") as file:
        file.truncate(folders.FLOOR + 1)
    assert pack_project(mine, "mine", lambda _: None, exclude=patterns) == files


def test_what_tools_left_costs_nothing_however_large(mine):
    before, files = packed(mine)
    litter(mine)
    for place in (".venv/lib/torch.so", "node_modules/a.js", ".git/objects/pack", "build/lib.so"):
        large = mine / place
        large.parent.mkdir(parents=True, exist_ok=True)
        with large.open("wb") as file:
            file.truncate(folders.FLOOR + 1)  # alone, each is beyond all measure
    assert packed(mine) == (before, files)


def test_what_changed_is_named(mine):
    one = pack_project(mine, "mine", lambda _: None)
    (mine / "src/mine/a.py").write_text("b")
    (mine / "run.sh").chmod(0o644)
    (mine / "meta.json").unlink()
    (mine / "new.py").symlink_to("code.py")
    two = pack_project(mine, "mine", lambda _: None)
    assert changed_files(one, two) == [
        "meta.json: gone", "new.py: new", "run.sh: changed", "src/mine/a.py: changed",
    ]  # fmt: skip
    assert changed_files(two, two) == []


def test_what_is_no_project_is_refused(mine, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(mine)
    (tmp_path / "bare").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(mine))
    for name, why in {
        "link": "is a link", "none": "is not there", "bare": "holds no project: none of pyproject",
        "file": "neither a wheel, an sdist nor a folder", "mine": "home directory", ".": "home",
    }.items():  # fmt: skip
        with pytest.raises(ResolutionError, match=why):
            packed(tmp_path / name)


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside"])
def test_a_link_out_of_the_folder_is_refused(mine, target):
    (mine / "src/link").symlink_to(f"../{target}" if target[0] == "." else target)
    with pytest.raises(ResolutionError, match="link out of the folder"):
        packed(mine)


def test_sockets_and_names_that_no_text_holds_are_refused(mine, monkeypatch):
    monkeypatch.chdir(mine)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        with pytest.raises(ResolutionError, match="no plain file"):
            packed(mine)
    (mine / "socket").unlink()
    (mine / "line\nbreak").touch()
    with pytest.raises(ResolutionError, match="name that no lock can hold"):
        packed(mine)


def test_a_folder_beyond_all_measure_is_refused_before_it_is_read(mine, monkeypatch):
    with (mine / "weights").open("wb") as file:
        file.truncate(folders.FLOOR + 1)
    with pytest.raises(BuildError, match="more than 2 GiB"):
        packed(mine)
    (mine / "weights").unlink()
    monkeypatch.setattr(bounds, "MEMBERS", 3)
    with pytest.raises(BuildError, match="more members than any honest one"):
        packed(mine)
