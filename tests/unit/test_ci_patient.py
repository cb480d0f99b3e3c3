"""`.ci/patient`: who installs at the same time is waited for; other failures are told at once."""

import os
import subprocess
from pathlib import Path

import pytest

PATIENT = Path(__file__).parents[2] / ".ci" / "patient"
HELD = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt-get)"


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a program which fails so often with these words."""

    def call(failures: int, words: str) -> tuple[int, str, int]:
        counter = tmp_path / "calls"
        for name, text in {
            "apt-get": f'echo x >>"{counter}"; [ $(wc -l <"{counter}") -gt {failures} ] '
            f"|| {{ echo '{words}' >&2; exit 100; }}",
            "sleep": ":",
        }.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        done = subprocess.run(
            [PATIENT, "apt-get", "update"],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr, len(counter.read_text().splitlines())

    return call


def test_a_lock_is_waited_for_and_told_once(run):
    code, said, calls = run(3, HELD)
    assert (code, calls) == (0, 4)
    assert said == "setup: another process installs packages: waiting for it\n"


def test_a_lock_that_is_never_freed_ends_it(run):
    code, said, calls = run(1000, HELD)
    assert (code, calls) == (100, 121)
    assert said.endswith(f"{HELD}\n")


def test_another_failure_is_told_at_once(run):
    assert run(1, "E: Unable to locate package x") == (100, "E: Unable to locate package x\n", 1)
