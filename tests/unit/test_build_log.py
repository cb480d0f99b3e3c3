"""What a build's log tells: how far it is, and what went wrong first."""

import time
from pathlib import Path

import pytest

from envbuilder.resolve.git.build_log import counted, first_errors, following, is_starved

NINJA = b"""\
-- Configuring done
[1/345] Building CXX object a.cc.o
[ 12/345] Building CUDA object csrc/attention.cu.o
tensor[3/4] is no count
"""
# nvcc 12.4 under ninja, as a build of vLLM logs it: the last lines are Python's.
FAILED = """\
[7/345] Building CUDA object csrc/quick.cu.o
FAILED: csrc/attention.cu.o
/usr/local/cuda/bin/nvcc -forward-unknown-to-host-compiler -c csrc/attention.cu
csrc/attention.cu(12): error: identifier "half8" is undefined

1 error detected in the compilation of "csrc/attention.cu".
[8/345] Building CXX object other.cc.o
ninja: build stopped: subcommand failed.
Traceback (most recent call last):
  File "/opt/build/lib/python3.10/site-packages/setuptools/build_meta.py", line 435
subprocess.CalledProcessError: Command '['cmake', '--build', '.']' returned non-zero exit status 1.
"""


@pytest.mark.parametrize(
    ("tail", "count"),
    [
        (NINJA, "12/345"),
        (b"[ 40%] Building C object x.o\n", "40%"),
        (b"half a line 1/2] x\n[1/2] y", "1/2"),
        (b"nothing\n", None),
        (b"", None),
    ],
)
def test_the_last_count(tail: bytes, count: str | None) -> None:
    assert counted(tail) == count


def test_the_first_errors_come_from_the_compiler(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(FAILED * 3)
    assert first_errors(log) == (
        "FAILED: csrc/attention.cu.o",
        'csrc/attention.cu(12): error: identifier "half8" is undefined',
    )
    assert not is_starved(first_errors(log))
    assert first_errors(tmp_path / "none") == ()


@pytest.mark.parametrize(
    "line",
    [
        "a.c:3:10: fatal error: Python.h: No such file or directory",
        "nvcc fatal   : Unsupported gpu architecture 'compute_130'",
        "ptxas fatal   : Memory allocation failure",
        "nvcc error   : 'cicc' died due to signal 9 (Kill signal)",
        "g++: fatal error: Killed signal terminated program cc1plus",
        "CMake Error at CMakeLists.txt:12 (find_package):",
        "/usr/bin/ld: cannot find -lcuda: No such file or directory",
        "x.o: in function `f': undefined reference to `g'",
        "collect2: error: ld returned 1 exit status",
        "error[E0425]: cannot find value `x` in this scope",
        "x.cu: No space left on device",
    ],
)
def test_whose_errors_are_known(line: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"[1/2] fine\n{line}\n")
    assert first_errors(tmp_path / "log") == (line,)
    assert is_starved((line,)) is ("signal" in line)


@pytest.mark.parametrize(
    "line",
    ["-Werror=format: on", "copying error.py -> build", "error_handler.cc: compiled", "0 errors"],
)
def test_what_is_no_error(line: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"{line}\n")
    assert first_errors(tmp_path / "log") == ()


def test_what_is_shown_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"f{n}.c: error: {'x' * 999}\n" for n in range(99)))
    found = first_errors(tmp_path / "log")
    assert len(found) == 8
    assert max(map(len, found)) == 300


class Telling:
    """A step that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def advance(self, amount: int) -> None:
        """Count nothing."""

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_step_says_how_far_the_build_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuilder.resolve.git.build_log._BLINK", 0.01)
    log, step = tmp_path / "log", Telling()
    with following(log, step):
        for number in (1, 2):
            with log.open("a") as file:
                file.write(f"[{number}/2] x\n")
            deadline = time.monotonic() + 60
            while len(step.said) < number and time.monotonic() < deadline:
                time.sleep(0.01)
    assert step.said == ["[1/2]", "[2/2]"]


def test_a_step_that_says_nothing_is_left_alone(tmp_path: Path) -> None:
    class Mute:
        def advance(self, amount: int) -> None:
            """Count nothing."""

    with following(tmp_path / "log", Mute()):
        pass
