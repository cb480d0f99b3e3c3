"""Show progress on stderr: bars on a terminal, lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from envbuilder.model.progress import Progress, Silent, Step

if TYPE_CHECKING:
    from rich.console import Console

_SILENCE = 30  # seconds after which a log is told that something still runs
_SOON = 5  # seconds after which it is told what a step is at, if the step says so


def open_progress(mode: str) -> AbstractContextManager[Progress]:
    """Open the display for ``mode``: auto, tty, plain or quiet."""
    if mode == "auto":
        mode = "tty" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    if mode == "tty":
        from .bars import open_bars  # what draws takes long to load, and logs need none of it

        return open_bars()
    return {"plain": _lines, "quiet": _silence}[mode]()


def stdout() -> Console:
    """Return the console for results; plain if stdout is no terminal or NO_COLOR is set."""
    from rich.console import Console

    return Console(highlight=False)


def printable(text: str, *, keep: str = "") -> str:
    """Return ``text`` in one line that moves no cursor: what others wrote may hold escape codes.

    Characters in ``keep`` stay, such as the line breaks of a message that may have some.
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


@contextmanager
def _silence() -> Iterator[Progress]:
    yield Silent()


@contextmanager
def _lines() -> Iterator[Progress]:
    yield _Plain()


class Counting:
    """A step that knows how far it is; ``advance`` may come from several threads."""

    def __init__(self) -> None:
        self.done = 0
        self.started = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        """Say that so much more is done."""
        with self._lock:
            self.done += amount

    @property
    def seconds(self) -> float:
        """How long it runs."""
        return time.monotonic() - self.started


class _Plain:
    """For logs and CI: a line when a step ends, and one every half minute while it lasts."""

    @contextmanager
    def step(
        self, phase: str, title: str, *, total: int | None = None, unit: str = "bytes"
    ) -> Iterator[Step]:
        running = _PlainStep(phase, title, total, unit)
        yield running
        _print(summary(phase, title, running, unit))

    def note(self, text: str) -> None:
        _print(text)


class _PlainStep(Counting):
    def __init__(self, phase: str, title: str, total: int | None, unit: str) -> None:
        super().__init__()
        self._said = self._told = self.started
        self._words = phase, title, total, unit

    def advance(self, amount: int) -> None:
        super().advance(amount)
        now = time.monotonic()
        if now - self._said >= _SILENCE:
            self._said = now
            phase, title, total, unit = self._words
            of = f" of {amount_text(total, 0, unit)}" if total else ""
            _print(f"{phase:<8} {title}  {amount_text(self.done, self.seconds, unit)}{of} so far")

    def say(self, text: str) -> None:
        now = time.monotonic()
        if now - self._told >= _SOON:
            self._told = now
            phase, title, *_ = self._words
            _print(f"{phase:<8} {title}: {text}  {self.seconds:.0f} s so far")


def _print(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def summary(phase: str, title: str, step: Counting, unit: str) -> str:
    """Say in one line what a step did, and how long it took."""
    amount = f"  {amount_text(step.done, step.seconds, unit)}" if step.done else ""
    return f"{phase:<8} {title}{amount}  {step.seconds:.1f} s"


def amount_text(done: int, seconds: float, unit: str) -> str:
    """Say how much of ``unit`` was done in ``seconds``; of bytes, how fast as well."""
    if unit != "bytes":
        return f"{done} {unit}"
    rate = f" ({size_text(done / seconds)}/s)" if seconds > 0.5 else ""
    return f"{size_text(done)}{rate}"


def size_text(size: float) -> str:
    """Say a number of bytes for people, in decimal units as registries do."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
