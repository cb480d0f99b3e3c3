"""Draw progress as bars on a terminal: what needs ``rich``, which takes long to load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from envbuilder.model.progress import Progress as ProgressProtocol
from envbuilder.model.progress import Step

from .console import Counting, amount_text, printable, summary


@contextmanager
def open_bars() -> Iterator[ProgressProtocol]:
    """Show bars for the block's time; each leaves a line when it ends."""
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
        self._bars.console.print(Text(printable(summary(phase, title, running, unit))))

    def note(self, text: str) -> None:
        self._bars.console.print(Text(printable(text), style="yellow"))


class _BarStep(Counting):
    def __init__(self, bars: Progress, task: TaskID, unit: str, title: str) -> None:
        super().__init__()
        self._bars = bars
        self._title = title
        self._task = task
        self._unit = unit

    def advance(self, amount: int) -> None:
        super().advance(amount)
        shown = amount_text(self.done, self.seconds, self._unit)
        self._bars.update(self._task, completed=self.done, amount=shown)

    def say(self, text: str) -> None:
        self._bars.update(self._task, description=printable(f"{self._title}: {text}"))
