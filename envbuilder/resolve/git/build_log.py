"""What a build prints: how far it is while it runs, and its own errors once it failed.

A build that compiles for hours goes on for a while after its first error, and a Python traceback
follows: the last lines of its log seldom say why.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from envbuilder.model.progress import Step, Telling

_COUNTS = re.compile(rb"^\[ *(\d+/\d+|\d+%)\] ", re.MULTILINE)
"""How ninja counts what it has done, and make as CMake writes it for it."""
_ERRORS = re.compile(
    r"\b(fatal )?error( *[A-Z]?\w*\d+)? *: "  # gcc, clang, nvcc, ld by collect2
    r"|^(nvcc|ptxas|fatbinary|nvlink)\b.*\b(fatal|error) *:"
    r"|^CMake Error\b|^FAILED: |\bundefined reference to\b|^error(\[\w+\])?: "
    r"|: cannot find -l|\bdied due to signal\b|\bKilled signal\b|No space left on device"
)
_STARVED = re.compile(r"\bdied due to signal 9\b|\bKilled signal\b")
_FIRST = 8  # errors that are shown
_LONGEST = 300  # characters shown of each, of which ninja's commands have thousands
_TAIL = 1 << 14  # bytes
_BLINK = 1.0  # seconds


@contextmanager
def following(log: Path, step: Step) -> Iterator[None]:
    """Let ``step`` say how far the build is that writes ``log``, as long as this lasts."""
    if not isinstance(step, Telling):
        yield
        return
    done = threading.Event()
    watcher = threading.Thread(target=_follow, args=(log, step, done), name="build log")
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def counted(tail: bytes) -> str | None:
    """Return the last count in the end of a log, like ``12/345`` or ``12%``, if there is one."""
    found = _COUNTS.findall(tail)
    return found[-1].decode() if found else None


def first_errors(log: Path) -> tuple[str, ...]:
    """Return the first lines of ``log`` in which a compiler, a linker or CMake tells an error."""
    if not log.is_file():
        return ()
    with log.open(encoding="utf-8", errors="replace") as lines:
        errors = (line.strip() for line in lines if _ERRORS.search(line))
        different = dict.fromkeys(line[:_LONGEST] for line in errors)
    return tuple(islice(different, _FIRST))


def is_starved(errors: tuple[str, ...]) -> bool:
    """Return whether the kernel killed a compiler, as it does where memory is short."""
    return any(_STARVED.search(line) for line in errors)


def _follow(log: Path, step: Telling, done: threading.Event) -> None:
    said = None
    while not done.wait(_BLINK):
        now = counted(_end(log))
        if now is not None and now != said:
            step.say(f"[{now}]")
            said = now


def _end(log: Path) -> bytes:
    if not log.is_file():
        return b""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return file.read()
