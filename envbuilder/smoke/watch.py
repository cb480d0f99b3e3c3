"""Watch a smoke while it runs: which checks are at work, and on what.

The probe writes lines into a named pipe that is mounted into the container. Whatever else an image
writes there is bounded and dropped: at most :data:`BATCH` bytes in each :data:`PAUSE`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from envbuilder.model.progress import Progress, Step, Telling
from envbuilder.storage.temporary import work_folder

from .document import UnfitError, read_json

PIPE_MOUNT = "/run/envbuilder/progress"
BATCH = 1 << 16
PAUSE = 0.1
"""Seconds between two looks into the pipe."""
SHOWN = 120
"""Characters of what is being done."""

Tell = Callable[[str, str | None], None]
"""Takes the name of a job, and what it does; None if it has ended."""


class Shown:
    """Shows each job as a step of ``progress``, with what it does and how many things it did."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[str, tuple[AbstractContextManager[Step], Step]] = {}

    def __call__(self, job: str, doing: str | None) -> None:
        """Show that ``job`` does this, or that it ended."""
        if doing is None:
            self._end(job)
            return
        if job not in self._open:
            manager = self._progress.step("check", job, unit="steps")
            self._open[job] = (manager, manager.__enter__())
        step = self._open[job][1]
        if doing:
            step.advance(1)
            if isinstance(step, Telling):
                step.say(doing)

    def end(self) -> None:
        """End what is still open: a job that was killed says nothing any more."""
        for job in list(self._open):
            self._end(job)

    def _end(self, job: str) -> None:
        if job in self._open:
            self._open.pop(job)[0].__exit__(None, None, None)


@contextmanager
def watched(progress: Progress | None, jobs: Sequence[str]) -> Iterator[Path | None]:
    """Make a pipe for the time of the block, and show on ``progress`` what is told of ``jobs``."""
    if progress is None:
        yield None
        return
    with ExitStack() as stack:
        pipe = stack.enter_context(work_folder("envbuilder-watch")) / "progress"
        os.mkfifo(pipe)
        pipe.chmod(0o666)  # the image's user is another
        descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # its own writer: never at its end
        stack.callback(os.close, descriptor)
        shown = Shown(progress)
        stack.callback(shown.end)
        over = threading.Event()
        thread = threading.Thread(target=_attend, args=(descriptor, over, shown, set(jobs)))
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        yield pipe


def _attend(descriptor: int, over: threading.Event, tell: Tell, jobs: set[str]) -> None:
    left = b""
    ended = False
    while not ended:
        ended = over.wait(PAUSE)  # once more after the end: the last lines lie in the pipe
        try:
            read = os.read(descriptor, BATCH)
        except BlockingIOError:
            continue
        *lines, left = (left + read).split(b"\n")
        left = left if len(left) < BATCH else b""
        for job, doing in _latest(lines, jobs):
            tell(job, doing)


def _latest(lines: Sequence[bytes], jobs: set[str]) -> Iterator[tuple[str, str | None]]:
    """Yield what ``lines`` tell of ``jobs``: of each job every end, and the last thing it does."""
    told: dict[str, str | None] = {}
    for line in lines:
        plain = _read(line)
        job = plain.get("job")
        if isinstance(job, str) and job in jobs:
            doing = plain.get("doing", "")
            ended = plain.get("state") == "ended"
            told[job] = None if ended else doing[:SHOWN] if isinstance(doing, str) else ""
    yield from told.items()


def _read(line: bytes) -> dict[str, Any]:
    try:
        plain = read_json(line)
    except UnfitError:
        return {}
    return plain if isinstance(plain, dict) else {}
