"""Run the command under attack, and look at what must hold: codes, words, leftovers, digests."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuilder.registry.layout import load
from tests.siege.tally import Tally
from tests.siege.testbed import NAME, Checkout

DOCUMENTED = {0, *range(2, 11), 130, 141}
"""The exit codes of docs/reference/environment.md, but for 1: an internal error."""
MEMORY = 400 << 20
PROCESSOR = 30.0
PATIENCE = 180.0
"""Seconds after which a command hangs; it takes ten on a busy machine."""
GRACE = 15.0
"""Seconds in which what a killed process started has to end."""
_PR_SET_CHILD_SUBREAPER = 36
_KEPT = ("lockfiles", "home", "key.key", "key.pub")


_OURS: set[int] = set()


def peak_of(pid: int) -> int:
    """Return the most bytes that a running process took so far, 0 if it has just ended.

    Not from its usage when it ends: execve(2) hands on the peak of whoever forked it.
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/status").read_text()
        found = re.search(r"(?m)^VmHWM:\s*(\d+) kB$", status)
        return int(found[1]) << 10 if found else 0
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended: its exit code (minus the signal's number), and what it printed."""

    arguments: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


def ended_in_python(outcome: Outcome, sent: signal.Signals) -> bool:
    """Return whether a signal ended Python before or after all that is ours: it was not heard."""
    interrupted = sent is signal.SIGINT and "KeyboardInterrupt" in outcome.stderr
    return outcome.code == -sent or (interrupted and "/envbuilder/" not in outcome.stderr)


@contextmanager
def orphans_adopted() -> Iterator[None]:
    """Let what commands leave running become our children; who is one now is a server of ours."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _OURS.update(children())
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@dataclass(slots=True, kw_only=True)
class Judge:
    """Watches one checkout; what must not be goes to ``tally``."""

    checkout: Checkout
    tally: Tally
    expected: str
    """The image's digest, whatever happens."""
    pids: set[str] = field(default_factory=set)
    """Of the commands that were started: control groups of others are none of ours."""

    def run(
        self,
        *arguments: str,
        prefix: tuple[str, ...] = (),
        bounded: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run the command to its end and look at how it ended; ``bounded``: at its cost, too."""
        process = self.start(*arguments, prefix=prefix, env=env)
        return self.finish(process, arguments, bounded=bounded)

    def start(
        self,
        *arguments: str,
        prefix: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Start the command in a process group of its own."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                [*prefix, *self.checkout.command(*arguments)],
                cwd=self.checkout.folder,
                env=self.checkout.environment(**(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            self.pids.add(str(process.pid))
            return Running(process=process, out=os.dup(out.fileno()), err=os.dup(err.fileno()))

    def finish(
        self,
        running: Running,
        arguments: tuple[str, ...],
        *,
        bounded: bool = False,
        sent: signal.Signals | None = None,
    ) -> Outcome:
        """Wait for the command's end, and judge its exit code, words and, if asked, cost.

        What was ``sent`` may end it as signals do, while Python itself starts or ends.
        """
        hung, status, usage = running.wait(PATIENCE)
        outcome = running.outcome(arguments, os.waitstatus_to_exitcode(status))
        if hung:
            self.tally.fault("hang", f"{arguments} runs after {PATIENCE} s: {outcome.stderr}")
            return outcome
        if bounded:
            self._weigh(arguments, running.peak, usage.ru_utime + usage.ru_stime)
        if sent is None or not ended_in_python(outcome, sent):
            self._words(outcome)
        return outcome

    def _weigh(self, arguments: tuple[str, ...], peak: int, seconds: float) -> None:
        self.tally.cost(peak=peak, seconds=seconds)
        if peak > MEMORY or seconds > PROCESSOR:
            self.tally.fault("budget", f"{arguments} took {peak >> 20} MiB and {seconds:.0f} s")

    def _words(self, outcome: Outcome) -> None:
        killed = outcome.code == -signal.SIGKILL
        if "Traceback (most recent" in outcome.stderr:
            self.tally.fault("traceback", f"{outcome.arguments}: {outcome.stderr}")
        elif outcome.code not in DOCUMENTED and not killed:
            self.tally.fault("code", f"{outcome.arguments}: {outcome.code}: {outcome.stderr}")
        elif outcome.code not in {0, 141} and not killed and not outcome.stdout + outcome.stderr:
            self.tally.fault("code", f"{outcome.arguments}: {outcome.code}, without a word")

    def settle(self, *, build: tuple[str, ...] = ("--no-smoke",)) -> None:
        """Let the next run make all well: same image, no leftovers."""
        arguments = ("build", NAME, "--locked", "--output-image", "oci:out", "-o", "json", *build)
        outcome = self.run(*arguments)
        if outcome.code:
            self.tally.fault("recovery", f"the next run: {outcome.code}: {outcome.stderr}")
        else:
            self._same(json.loads(outcome.stdout)["image"])
        self.leftovers(contained="--no-smoke" not in build)

    def _same(self, image: str) -> None:
        exported, blobs = load(self.checkout.folder / "out", "linux/amd64")
        wrong = [
            each for each in exported.layers
            if subprocess.run(["sha256sum", blobs / each.digest.hex], capture_output=True,
                              text=True, check=True).stdout.split()[0] != each.digest.hex
        ]  # fmt: skip
        if wrong or {image, str(exported.digest)} != {self.expected}:
            self.tally.fault("change", f"{image} and not {self.expected}; damaged: {wrong}")

    def leftovers(self, *, grace: float = GRACE, contained: bool = False) -> None:
        """Look for processes, temporary files and mounts that should be gone by now.

        A control group of the dead goes with the next run in a container: if there was one, look.
        """
        found = [*self._processes(grace), *self._files(), *self._mounts()]
        for text in (*found, *(self._cgroups() if contained else ())):
            self.tally.fault("leftover", text)

    def _processes(self, grace: float) -> Iterator[str]:
        deadline = time.monotonic() + grace
        while (orphans := our_orphans()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid, words in orphans.items():
            yield f"process {pid}: {words}"
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _files(self) -> Iterator[str]:
        folder = self.checkout.folder
        for path in (
            *self.checkout.scratch.iterdir(),
            *(self.checkout.store / "tmp").glob("*"),
            *folder.glob(".out*"),
            *folder.glob("lockfiles/.*.new"),
        ):
            yield f"file {path}"
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _mounts(self) -> Iterator[str]:
        mounted = Path("/proc/self/mountinfo").read_text()
        for line in mounted.splitlines():
            if str(self.checkout.folder) in line:
                yield f"mount {line}"

    def _cgroups(self) -> Iterator[str]:
        for path in Path("/sys/fs/cgroup").rglob("envbuilder-*"):
            name = re.fullmatch(r"envbuilder-(\d+)\b.*", path.name)
            if name and name[1] in self.pids and not Path("/proc", name[1]).exists():
                yield f"cgroup {path}"

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Put specs, locks and ledger back at the end, whatever a command made of them."""
        with tempfile.TemporaryDirectory(dir=self.checkout.folder.parent) as name:
            for each in _KEPT:
                subprocess.run(["cp", "-a", self.checkout.folder / each, name], check=True)
            try:
                yield
            finally:
                for path in self.checkout.folder.iterdir():
                    if path.name not in {"store", "scratch", "uv"}:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                for each in _KEPT:
                    subprocess.run(["cp", "-a", f"{name}/{each}", self.checkout.folder], check=True)


@dataclass(slots=True, kw_only=True)
class Running:
    """A started command and the files that take its output."""

    process: subprocess.Popen[bytes]
    out: int
    err: int
    peak: int = 0
    """The most bytes that its process took, as far as it was seen."""

    def wait(self, seconds: float) -> tuple[bool, int, Any]:
        """Wait for the end; return whether we had to end it, its status and what it cost."""
        try:
            return self._wait(seconds)
        except BaseException:  # the siege is broken off
            os.killpg(self.process.pid, signal.SIGKILL)
            raise

    def _wait(self, seconds: float) -> tuple[bool, int, Any]:
        deadline = time.monotonic() + seconds
        hung = False
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return hung, status, usage
            self.peak = max(self.peak, peak_of(self.process.pid))
            if not hung and time.monotonic() > deadline:
                hung = True
                os.killpg(self.process.pid, signal.SIGKILL)
            time.sleep(0.01)

    def outcome(self, arguments: tuple[str, ...], code: int) -> Outcome:
        """Read what was printed, and close the files."""
        texts = []
        for fd in (self.out, self.err):
            with os.fdopen(fd, "rb") as file:
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return Outcome(arguments=arguments, code=code, stdout=texts[0], stderr=texts[1])


def children() -> set[int]:
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(word) for word in path.read_text().split()}
    return found


def our_orphans() -> dict[int, str]:
    """Return the processes that became our children, but no zombies: those are reaped."""
    found = {}
    for pid in children() - _OURS:
        with suppress(ChildProcessError, FileNotFoundError, ProcessLookupError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[pid] = f"{Path(f'/proc/{pid}/comm').read_text().strip()}: {words[:200]}"
    return found
