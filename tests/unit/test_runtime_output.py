"""What is kept of a command's output, in memory and in a log."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from envbuilder.runtime.output import Kept, Log, outputs


def test_memory_keeps_the_beginning() -> None:
    kept = Kept(10)
    for piece in (b"begin", b"0123456", b"more"):
        kept.add(piece)
    assert (bytes(kept.data), kept.truncated) == (b"begin01234", True)


def test_a_log_is_written_at_once_by_both_streams(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    with outputs(path) as (stdout, stderr):
        stdout.add(b"out\n")
        stderr.add(b"err\n")
        assert path.read_bytes() == b"before\nout\nerr\n"
    assert not stdout.truncated


@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 20])
def test_a_flood_leaves_its_beginning_and_its_end(tmp_path: Path, piece: int) -> None:
    flood = b"begin " + b"x" * (1 << 20) + b" end"
    log = Log(tmp_path / "log", 1000)
    for at in range(0, len(flood), piece):
        log.add(flood[at : at + piece])
    log.close()
    text = (tmp_path / "log").read_bytes()
    left_out = len(flood) - 1000 - (1 << 16)
    assert log.truncated
    assert (
        text == flood[:1000] + b"\n[%d bytes are left out here]\n" % left_out + flood[-(1 << 16) :]
    )


def test_what_is_longer_by_less_than_the_end_is_kept_whole(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", 10)
    log.add(b"0123456789abc")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"0123456789abc"


def test_a_full_disk_is_told_at_the_end() -> None:
    log = Log(Path("/dev/full"), 10)
    log.add(b"x")
    log.add(b"y")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number says which
        log.close()
    assert caught.value.errno == errno.ENOSPC
