"""Draw progress on stderr: bars on a terminal, lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from envbuilder.model.progress import Progress as ProgressProtocol
from envbuilder.model.progress import Silent, Step

_SILENCE = 30  # seconds after which a log is told that something still runs
_SOON = 5  # seconds after which it is told what a step is at, if the step says so


def open_progress(mode: str) -> AbstractContextManager[ProgressProtocol]:
    """Open the display for ``mode``: auto, tty, plain or quiet."""
    if mode == "auto":
        mode = "tty" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    return {"tty": _bars, "plain": _lines, "quiet": _silence}[mode]()


def stdout() -> Console:
    """Return the console for results; plain if stdout is no terminal or NO_COLOR is set."""
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
def _silence() -> Iterator[ProgressProtocol]:
    yield Silent()


@contextmanager
def _lines() -> Iterator[ProgressProtocol]:
    yield _Plain()


@contextmanager
def _bars() -> Iterator[ProgressProtocol]:
    console = Console(stderr=True, highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[phase]:<8}", style="cyan"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bars(bars)


class _Bars:
    """Rich's progress display behind our protocol."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    @contextmanager
    def step(
        self, phase: str, title: str, *, total: int | None = None, unit: str = "bytes"
    ) -> Iterator[Step]:
        task = self._bars.add_task(printable(title), total=total, phase=phase, amount="")
        running = _BarStep(self._bars, task, unit, title)
        try:
            yield running
        finally:
            self._bars.remove_task(task)
        self._bars.console.print(Text(printable(_summary(phase, title, running, unit))))

    def note(self, text: str) -> None:
        self._bars.console.print(Text(printable(text), style="yellow"))


class _Counting:
    """A step that knows how far it is; ``advance`` may come from several threads."""

    def __init__(self) -> None:
        self.done = 0
        self.started = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        with self._lock:
            self.done += amount

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class _BarStep(_Counting):
    def __init__(self, bars: Progress, task: TaskID, unit: str, title: str) -> None:
        super().__init__()
        self._bars = bars
        self._title = title
        self._task = task
        self._unit = unit

    def advance(self, amount: int) -> None:
        super().advance(amount)
        shown = _amount(self.done, self.seconds, self._unit)
        self._bars.update(self._task, completed=self.done, amount=shown)

    def say(self, text: str) -> None:
        self._bars.update(self._task, description=printable(f"{self._title}: {text}"))


class _Plain:
    """For logs and CI: a line when a step ends, and one every half minute while it lasts."""

    @contextmanager
    def step(
        self, phase: str, title: str, *, total: int | None = None, unit: str = "bytes"
    ) -> Iterator[Step]:
        running = _PlainStep(phase, title, total, unit)
        yield running
        _print(_summary(phase, title, running, unit))

    def note(self, text: str) -> None:
        _print(text)


class _PlainStep(_Counting):
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
            of = f" of {_amount(total, 0, unit)}" if total else ""
            _print(f"{phase:<8} {title}  {_amount(self.done, self.seconds, unit)}{of} so far")

    def say(self, text: str) -> None:
        now = time.monotonic()
        if now - self._told >= _SOON:
            self._told = now
            phase, title, *_ = self._words
            _print(f"{phase:<8} {title}: {text}  {self.seconds:.0f} s so far")


def _print(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def _summary(phase: str, title: str, step: _Counting, unit: str) -> str:
    amount = f"  {_amount(step.done, step.seconds, unit)}" if step.done else ""
    return f"{phase:<8} {title}{amount}  {step.seconds:.1f} s"


def _amount(done: int, seconds: float, unit: str) -> str:
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
