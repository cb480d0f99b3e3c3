"""What git says of a transfer while it runs, as steps of our progress that know their end.

git rewrites one line: ``Receiving objects:  45% (9/20), 1.20 MiB | 3.1 MiB/s``. Servers add theirs
before it (``remote: Counting objects: …``); those only matter to whoever waits for the first byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

from envbuilder.model.progress import Progress, Step

_OURS = re.compile(r"(Receiving objects|Resolving deltas): +\d+% \((\d+)/(\d+)\)")
_ANY = re.compile(r"(remote: )?([A-Z][a-z]+ [a-z]+: +\d+|Total \d+ )")
_CHUNK = 1 << 16


class Pieces(Protocol):
    """A stream that gives what has come, not what was asked for; nothing at its end."""

    def read1(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""


def watch(stderr: Pieces, progress: Progress, title: str) -> str:
    """Show what git says on ``stderr`` until it ends; give what is not about progress."""
    said = []
    with ExitStack() as opened:
        steps: dict[str, tuple[Step, int]] = {}
        for line in _lines(stderr):
            if match := _OURS.match(line):
                what, done, total = match[1], int(match[2]), int(match[3])
                if what not in steps:
                    name = f"{title}: {what.lower()}"
                    step = progress.step("git", name, total=total, unit="items")
                    steps[what] = opened.enter_context(step), 0
                step_of, before = steps[what]
                step_of.advance(done - before)
                steps[what] = step_of, done
            elif not _ANY.match(line):
                said.append(line)
    return "\n".join(said)


def _lines(stream: Pieces) -> Iterator[str]:
    """Split at line ends and at carriage returns, with which git takes a line back."""
    rest = b""
    while piece := stream.read1(_CHUNK):
        *lines, rest = re.split(rb"[\r\n]", rest + piece)
        yield from (line.decode(errors="replace") for line in lines if line)
    if rest:
        yield rest.decode(errors="replace")
