"""A smoke is shown while it runs, and what an image writes into the pipe stays harmless."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envbuilder.cli.console import open_progress
from envbuilder.runtime import Command, Completed
from envbuilder.smoke import LocalPython, SmokePlan, smoke
from envbuilder.smoke.probe.told import tell
from envbuilder.smoke.watch import SHOWN, watched

JOBS = ["caches", "tokens.image"]


class Seen:
    """A progress that remembers what it was told, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def step(
        self, phase: str, title: str, *, total: int | None = None, unit: str = "bytes"
    ) -> Iterator["SeenStep"]:
        assert (total, unit) == (None, "steps")
        self.lines.append(f"{phase} {title}")
        yield SeenStep(self, title)
        self.lines.append(f"{title} ended")

    def note(self, text: str) -> None:
        raise AssertionError(text)


class SeenStep:
    def __init__(self, seen: Seen, title: str) -> None:
        self._seen, self._title = seen, title

    def advance(self, amount: int) -> None:
        assert amount == 1

    def say(self, text: str) -> None:
        self._seen.lines.append(f"{self._title}: {text}")


def test_a_real_probe_tells_what_it_does(tmp_path: Path) -> None:
    seen = Seen()
    plan = SmokePlan(checks=("caches",), prefix=str(tmp_path), shared=True, timeout=60)
    assert smoke(LocalPython(python=sys.executable).run, plan, progress=seen).ok
    assert seen.lines[0] == "check caches"
    assert seen.lines[-1] == "caches ended"


def _wait(seen: Seen, line: str) -> None:
    until = time.monotonic() + 30
    while line not in seen.lines:
        assert time.monotonic() < until, seen.lines
        time.sleep(0.01)


def test_each_job_is_a_step_that_says_what_it_does() -> None:
    seen = Seen()
    with watched(seen, JOBS) as pipe:
        tell(str(pipe), job="caches", state="begun")
        _wait(seen, "check caches")
        tell(str(pipe), job="tokens.image", doing="counting image 280x280")
        _wait(seen, "tokens.image: counting image 280x280")
        tell(str(pipe), job="caches", state="ended")
        tell(str(pipe), job="tokens.image", doing="counting " + "x" * 5000)
    assert seen.lines[0] == "check caches"
    assert "caches ended" in seen.lines
    assert seen.lines[-1] == "tokens.image ended", "a job that was killed says no end"
    assert max(map(len, seen.lines)) <= SHOWN + len("tokens.image: ")


def test_whatever_else_is_written_is_dropped() -> None:
    seen = Seen()
    with watched(seen, JOBS) as pipe:
        assert pipe is not None
        descriptor = os.open(pipe, os.O_WRONLY)
        for line in (
            b"[" * 60_000,
            b"x" * 70_000,
            b'{"job": 5}',
            b'{"job": "none"}',
            b"5",
            b"\xff",
        ):
            os.write(descriptor, b"\n" + line + b"\n")
        os.write(descriptor, b'{"job": "caches", "doing": 7}\n')
        _wait(seen, "check caches")
        os.close(descriptor)
    assert seen.lines == ["check caches", "caches ended"]
    assert not pipe.exists()


def test_nobody_waits_for_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (str(pipe), str(tmp_path / "none"), "", None):
        tell(place, job="caches", doing="x")


def test_without_a_progress_there_is_no_pipe() -> None:
    def run(command: Command) -> Completed:
        assert b"progress" not in command.stdin
        raise InterruptedError

    with pytest.raises(InterruptedError):
        smoke(run, SmokePlan(checks=("caches",)))


@pytest.mark.parametrize("mode", ["plain", "quiet", "tty"])
def test_every_display_takes_it(
    mode: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envbuilder.cli.console._SOON", 0)
    with open_progress(mode) as progress, watched(progress, JOBS) as pipe:
        tell(str(pipe), job="caches", doing="looking\x1b[2J at /tmp")
        time.sleep(0.3)
        tell(str(pipe), job="caches", state="ended")
    told = capsys.readouterr().err
    assert "\x1b[2J" not in told.replace("\x1b[2K", "")
    assert ("caches" in told) == (mode != "quiet")
    if mode == "plain":
        assert r"check    caches: looking\x1b[2J at /tmp" in told
