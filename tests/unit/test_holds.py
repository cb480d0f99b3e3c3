"""Holds: shared by many, freed by the kernel, and never in the way of what nobody works on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest
from envbuilder.storage.holds import Holds

ROOT = Path(__file__).parents[2]
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")


@pytest.fixture
def holds(tmp_path: Path) -> Holds:
    return Holds(tmp_path / "store" / "held")


def test_what_is_held_is_not_taken_and_the_rest_is(holds: Holds) -> None:
    with holds.of([ONE]), holds.of([ONE]):
        assert holds.held([ONE, TWO]) == {ONE}
        with holds.unless_held(ONE) as one, holds.unless_held(TWO) as two:
            assert (one, two) == (False, True)
    assert holds.held([ONE, TWO]) == set()
    with holds.unless_held(ONE) as free:
        assert free


def test_a_hold_stays_while_others_let_go(holds: Holds) -> None:
    with holds.of([ONE]):
        with holds.of([ONE, TWO]):
            pass
        assert holds.held([ONE, TWO]) == {ONE}


def test_what_is_being_removed_can_only_be_removed_once(holds: Holds) -> None:
    with holds.unless_held(ONE) as first, holds.unless_held(ONE) as second:
        assert (first, second) == (True, False)


def test_the_kernel_frees_what_the_killed_held(tmp_path: Path, holds: Holds) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from envbuilder.model.reference import Digest\n"
        "from envbuilder.storage.holds import Holds\n"
        "with Holds(Path(sys.argv[1])).of([Digest.of(b'one')]):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "store" / "held")]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert holds.held([ONE]) == {ONE}
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holds.held([ONE]) == set()


def test_a_thousand_things_take_one_descriptor(holds: Holds) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    things = [Digest.of(str(number).encode()) for number in range(1000)]
    with holds.of(things):
        assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
        assert holds.held(things) == set(things)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with (
        pytest.raises(BuildError, match=r"cannot write at .*store"),
        Holds(tmp_path / "store" / "held").of([ONE]),
    ):
        pass


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EROFS])
def test_a_store_that_may_only_be_read_still_serves(
    holds: Holds, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "open", refuse)
    with holds.of([ONE]), holds.unless_held(ONE) as free:
        assert holds.held([ONE]) == set()
        assert free  # to try: it fails at what it removes
