from __future__ import annotations

import os
import stat
from pathlib import Path

from envbuilder.runtime.cage import start_error
from envbuilder.runtime.trees import mark_deletions, read_text


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
