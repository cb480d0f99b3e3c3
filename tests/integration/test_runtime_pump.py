from __future__ import annotations

import sys
import threading

import pytest

from envbuilder.runtime.pump import ProgramResult, pump
from envbuilder.runtime.room import Room

pytestmark = pytest.mark.integration

HALF_A_MEGABYTE = 500_000


def _python(
    code: str, *, stdin: bytes = b"", timeout: float = 30, limit: int = 1 << 20
) -> ProgramResult:
    return pump([sys.executable, "-c", code], stdin=stdin, timeout=timeout, limit=limit)


def test_both_outputs_come_back() -> None:
    outcome = _python("import sys; print('out'); print('err', file=sys.stderr)")
    assert outcome == ProgramResult(
        stdout=b"out\n", stderr=b"err\n", truncated=False, timed_out=False
    )


def test_input_and_output_larger_than_pipes_do_not_block() -> None:
    data = b"0123456789" * (HALF_A_MEGABYTE // 10)
    outcome = _python("import sys; sys.stdout.write(sys.stdin.read())", stdin=data)
    assert outcome.stdout == data


def test_the_beginning_of_a_flood_is_kept() -> None:
    outcome = _python("print('begin' + 'x' * 300000)", limit=10)
    assert outcome.stdout == b"beginxxxxx"
    assert outcome.truncated


def test_exactly_the_limit_is_not_a_flood() -> None:
    outcome = _python("import sys; sys.stdout.write('x' * 10)", limit=10)
    assert (outcome.stdout, outcome.truncated) == (b"x" * 10, False)


def test_a_program_may_end_without_reading() -> None:
    assert _python("print('done')", stdin=b"x" * HALF_A_MEGABYTE).stdout == b"done\n"


def test_the_deadline_holds_though_the_outputs_are_closed() -> None:
    outcome = _python("import os, time; os.close(1); os.close(2); time.sleep(60)", timeout=0.5)
    assert outcome.timed_out


def test_what_was_written_before_the_deadline_is_kept() -> None:
    outcome = pump(["sh", "-c", "echo begun; exec sleep 60"], stdin=b"", timeout=1, limit=99)
    assert (outcome.stdout, outcome.timed_out) == (b"begun\n", True)


def test_several_programs_run_at_once() -> None:
    outcomes: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(_python("print(1)").stdout))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [b"1\n"] * 4


def test_a_missing_program_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        pump(["/nonesuch"], stdin=b"", timeout=1, limit=1)


class Full(Room):
    """A disk that has room at so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__(())
        self._looks = looks

    def left(self) -> bool:
        self._looks -= 1
        return self._looks >= 0


@pytest.mark.parametrize("held", ["", "exec >&- 2>&-;"])
def test_a_program_that_takes_the_last_room_is_killed(held: str) -> None:
    command = ["sh", "-c", f"echo begun; {held} exec sleep 60"]
    outcome = pump(command, stdin=b"", timeout=50, limit=99, room=Full(3))
    assert outcome.out_of_disk
    assert not outcome.timed_out
    assert outcome.stdout == b"begun\n"


def test_who_ends_with_a_full_disk_is_told_so() -> None:
    assert pump(["true"], stdin=b"", timeout=50, limit=99, room=Full(0)).out_of_disk
