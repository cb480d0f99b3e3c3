"""Tell whoever watches what is being done, while it is done: a line into a pipe, or nothing.

The pipe is a convenience: where it is full, gone or not readable, the line is lost and the job goes
on, so nothing here may raise or wait.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from .facts import Emitter

LONGEST = 300
"""Characters of what is said; a line must fit into a pipe at once (PIPE_BUF is 4096 bytes)."""


def tell(pipe: str | None, **line: str) -> None:
    """Write one line to ``pipe``, if there is one and somebody reads it."""
    if not pipe:
        return
    text = json.dumps({name: value[:LONGEST] for name, value in line.items()}) + "\n"
    with contextlib.suppress(OSError):
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


class Telling(Emitter):
    """Emits facts, and tells what the job is about to try."""

    def __init__(self, descriptor: int, job: str) -> None:
        super().__init__(descriptor)
        self.pipe: str | None = None
        self._job = job

    def __call__(self, **line: Any) -> None:
        """Write one line of facts; tell of it if it says what is being done."""
        super().__call__(**line)
        if "doing" in line:
            tell(self.pipe, job=self._job, doing=str(line["doing"]))
