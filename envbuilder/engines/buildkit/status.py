"""What BuildKit says while it works (``--progress=rawjson``), as our progress and our errors.

buildx writes a stream of JSON objects (BuildKit's ``client.SolveStatus``), on one line or on many,
and around them plain lines: the error, and the lines of the Dockerfile that it points to.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, TextIO

from envbuilder.model.codec import MisfitError, any_json
from envbuilder.model.errors import (
    BuildError,
    DiskFullError,
    EnvbuilderError,
    NetworkError,
    ResolutionError,
)
from envbuilder.model.progress import Progress, Step

_LAST_LINES = 40  # of a failing step's output
_LAST_PLAIN = 40  # of what buildx says beside the stream
_GONE = re.compile(r"failed to resolve source metadata for (\S+): .*not found")
_UNREACHABLE = re.compile(r"dial tcp|no such host|i/o timeout|TLS handshake|http: server gave")
_LOST = re.compile(
    r"\bUnavailable(:| desc = )"
)  # gRPC's word for a server that is not there any more
_METADATA = re.compile(r"\[(internal|context \S+)\] load metadata ")
_PROCESS = re.compile(r'process ".*" did not complete successfully: (.*)', re.DOTALL)
_FLAGS = re.compile(r"(?<=\] )(RUN|COPY)(\s+--[a-z]+(=\S+)?)+")


class Watch:
    """Follow one build: open and close steps of ``progress``, and remember what failed.

    ``blot`` takes secrets out of every line. What steps print goes to ``log`` as well.
    """

    def __init__(
        self, progress: Progress, blot: Callable[[str], str], log: TextIO | None = None
    ) -> None:
        self._progress = progress
        self._blot = blot
        self._log = log
        self._begun: dict[str, str] = defaultdict(str)  # lines of which the end is to come
        self._steps: dict[str, tuple[ExitStack, Step]] = {}
        self._names: dict[str, str] = {}
        self._output: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_LAST_LINES))
        self._amounts: dict[tuple[str, str], int] = {}
        self._plain: deque[str] = deque(maxlen=_LAST_PLAIN)
        self._failed: tuple[str, str] | None = None

    def follow(self, lines: Iterable[str]) -> None:
        """Read the stream to its end; steps that are still open are closed, whatever happens."""
        try:
            for item in _items(lines):
                if isinstance(item, str):
                    self._plain.append(self._blot(item))
                else:
                    self._status(item)
        finally:
            for digest in [digest for digest, begun in self._begun.items() if begun]:
                self._hear(digest, "\n")
            for digest in list(self._steps):
                self._close(digest)

    def failure(self) -> EnvbuilderError:
        """Say why the build failed: the step, its last lines, the Dockerfile's line, what to do."""
        plain = "\n".join(self._plain)
        errors = [line for line in self._plain if re.match(r"(?i)error: ", line)]
        reason = re.sub(r"(?i)^error: (failed to solve: )?", "", errors[-1]) if errors else plain
        if gone := _GONE.search(reason):
            return ResolutionError(
                f"the image {gone[1]} is gone from its registry",
                hint="envbuilder lock NAME --upgrade-package system takes what there is now",
            )
        if self._failed is None or _METADATA.match(self._names[self._failed[0]]):
            return _without_step(reason or "docker buildx build failed without a word")
        digest, error = self._failed
        place = re.search(r"Dockerfile:(\d+)", plain)
        where = f" (Dockerfile line {place[1]})" if place else ""
        output = "".join(f"\n  {line}" for line in self._output[digest])
        return _with_hint(f"the step {self._names[digest]}{where} failed: {error}{output}")

    def _status(self, status: dict[str, Any]) -> None:
        for log in status.get("logs") or ():
            text = base64.b64decode(log.get("data") or "").decode(errors="replace")
            self._hear(log["vertex"], text)
        for vertex in status.get("vertexes") or ():
            self._vertex(vertex)
        for amount in status.get("statuses") or ():
            self._amount(amount)

    def _hear(self, digest: str, text: str) -> None:
        """Take what a step printed, which arrives in pieces, line by line."""
        *lines, self._begun[digest] = f"{self._begun[digest]}{text}".split("\n")
        for line in map(self._blot, lines):
            shown = line.rstrip("\r").rpartition("\r")[2]
            self._output[digest].extend([shown] if shown else [])
            if self._log is not None:
                self._log.write(f"{shown}\n")

    def _vertex(self, vertex: dict[str, Any]) -> None:
        digest = vertex["digest"]
        self._names[digest] = self._blot(step_title(vertex["name"]))
        if vertex.get("error") and not _is_cancelled(vertex["error"]):
            # The process's text is the step's, which is in the Dockerfile and may be long.
            short = _PROCESS.sub(r"\1", vertex["error"])
            self._failed = digest, self._blot(short)
        if vertex.get("completed"):
            self._close(digest)
        elif vertex.get("started") and digest not in self._steps:
            opened = ExitStack()
            step = opened.enter_context(self._progress.step("docker", self._names[digest]))
            self._steps[digest] = opened, step

    def _amount(self, status: dict[str, Any]) -> None:
        """Advance a step by what one of its transfers has moved since it was last heard of."""
        key = status["vertex"], status["id"]
        current = int(status.get("current") or 0)
        moved = current - self._amounts.get(key, 0)
        self._amounts[key] = current
        if moved > 0 and status["vertex"] in self._steps:
            self._steps[status["vertex"]][1].advance(moved)

    def _close(self, digest: str) -> None:
        if digest in self._steps:
            self._steps.pop(digest)[0].close()


def step_title(name: str) -> str:
    """Shorten a vertex's name to its stage and what it runs, without flags, in 90 characters."""
    title = " ".join(_FLAGS.sub(r"\1", name).replace(" \\ ", " ").split())
    return title if len(title) <= 90 else f"{title[:89]}…"


def _items(lines: Iterable[str]) -> Iterator[str | dict[str, Any]]:
    """Split the stream into JSON objects and plain lines.

    An object is one line, or starts with a ``{`` alone and ends with a ``}`` at its left edge.
    What only looks like one is plain lines.
    """
    pending: list[str] = []
    for line in filter(str.strip, (raw.rstrip("\n") for raw in lines)):
        if line.startswith("{") or not pending:
            yield from pending
            pending.clear()
        pending.append(line)
        if line == "}" or pending[0] != "{":
            yield from _parsed(pending)
            pending.clear()
    yield from pending


def _parsed(lines: list[str]) -> list[str] | list[dict[str, Any]]:
    """Return the object that ``lines`` are, or themselves if they are none."""
    try:
        return [any_json("\n".join(lines))] if lines[0].startswith("{") else lines
    except MisfitError:
        return lines


def _is_cancelled(error: str) -> bool:
    """Tell the steps that were stopped because another one failed."""
    return "context canceled" in error


def _without_step(reason: str) -> EnvbuilderError:
    if _UNREACHABLE.search(reason):
        return NetworkError(
            f"BuildKit cannot reach what it needs: {reason}",
            hint="check the builder's network and proxy",
        )
    if _LOST.search(reason):
        return BuildError(
            f"the builder was lost while it built: {reason}",
            hint="its own log tells why; once it runs again, a build goes on from its cache",
        )
    return _with_hint(f"docker buildx build failed: {reason}")


def _with_hint(message: str) -> BuildError:
    if "no space left on device" in message.lower():
        return DiskFullError(message, hint="docker buildx prune frees the builder's cache")
    if "network bridge not found" in message:
        return BuildError(message, hint="this engine has no network for builds: --network host")
    return BuildError(message)
