"""What a log is told of long work."""

import pytest

from envbuilder.cli import console


def test_a_long_step_is_heard_of_before_it_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with (
        console.open_progress("plain") as progress,
        progress.step("fetch", "torch", total=800_000_000) as step,
    ):
        for _ in range(8):
            clock[0] += 10
            step.advance(100_000_000)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "fetch    torch  300.0 MB (10.0 MB/s) of 800.0 MB so far",
        "fetch    torch  600.0 MB (10.0 MB/s) of 800.0 MB so far",
        "fetch    torch  800.0 MB (10.0 MB/s)  80.0 s",
    ]


def test_a_short_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with console.open_progress("plain") as progress, progress.step("lock", "demo"):
        pass
    assert capsys.readouterr().err == "lock     demo  0.0 s\n"
