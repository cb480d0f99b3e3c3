"""One bare git repository of ours, and git itself, run so that nothing but its job happens.

The user's own git configuration counts where it says how to reach a server (credential helpers,
``insteadOf``, proxies, certificates); hooks, other protocols and prompts do not.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from envbuilder.model.errors import (
    BuildError,
    MissingToolError,
    NetworkError,
    ResolutionError,
    without_login,
)
from envbuilder.model.git_url import PROTOCOLS, Address

from .git_errors import explain
from .git_progress import watch
from .stall_timeout import LONGEST, Patient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from git import Git, GitCommandError

    from envbuilder.model.progress import Progress

_OPTIONS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",  # one pack per fetch, whole or not there, instead of loose objects
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",  # what we keep is held by refs of ours; repacking would only take time
    "maintenance.auto": "false",
    "http.lowSpeedLimit": "1",  # bytes per second; a dead connection ends after the time below
    "http.lowSpeedTime": "120",
}
_PIECE = 1 << 20
_LOCAL = (  # what git tells its hooks of their own repository (git rev-parse --local-env-vars)
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRepository:
    """A bare repository at ``path`` that fetches from ``address``."""

    path: Path
    address: Address

    def prepare(self, *, object_format: str) -> None:
        """Make the repository if there is none, and clear what a killed git left in it.

        The caller holds the mirror's lock: a ``*.lock`` file found here has no living owner.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for stale in [*self.path.rglob("*.lock"), *self.path.glob("objects/pack/tmp_*")]:
            stale.unlink(missing_ok=True)
        # Again each time: it does no harm, and completes an init that was killed.
        self.run("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}")

    def fetch(self, *arguments: str, progress: Progress, title: str) -> None:
        """Run ``git fetch OPTIONS origin REFSPECS``, with ``origin`` at our address.

        ``progress`` hears of ``title`` how many objects have come, of how many.
        """
        origin = ("-c", f"remote.origin.url={self.address}")
        options = ("--progress", "--no-tags", "--no-write-fetch-head")
        with self._asking(*origin, "fetch", *options, *arguments) as process:
            stderr = Patient(process.proc, process.stderr)
            said = watch(stderr, progress, title)
        self._check(process, stderr, said)

    def list_refs(self) -> str:
        """Ask the server for its branches and tags, as ``git ls-remote`` prints them."""
        asked = ("ls-remote", "--quiet", "--heads", "--tags", "--", self.address.text)
        with self._asking(*asked) as process:
            stdout = Patient(process.proc, process.stdout)
            text = stdout.read()
            said = b"" if stdout.hung else process.stderr.read()
        self._check(process, stdout, said)
        return text.decode(errors="replace")

    @property
    def exists(self) -> bool:
        """Return whether anything was ever fetched into it."""
        return (self.path / "HEAD").exists()

    def run(self, *arguments: str) -> bytes:
        """Run ``git ARGUMENTS`` in the repository and return its standard output.

        git can reach no server, whatever a partial clone would like to fetch. Raises what
        :func:`explain` makes of git's error.
        """
        git, failure = _gitpython()
        try:
            output: bytes = git(self.path).execute(
                self._command(*arguments),
                env=self._environment(network=False),
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except failure as error:
            raise explain(self.address, _text(error.stderr)) from error
        return output

    @contextmanager
    def records(self, *arguments: str) -> Iterator[Iterator[str]]:
        """Run ``git ARGUMENTS`` as :meth:`run` does, and read its NUL-ended records one by one.

        Who reads them to the end hears of git's error.
        """
        git, _ = _gitpython()
        process: Any = git(self.path).execute(
            self._command(*arguments), env=self._environment(network=False), as_process=True
        )
        with _ended(process):
            yield self._records(process)

    @contextmanager
    def blobs(self, names: Sequence[str]) -> Iterator[Iterator[tuple[int, Iterator[bytes]]]]:
        """Read blobs, in the order of ``names`` (full ids), one at a time: bytes, and pieces.

        Each is checked against its name, once its pieces are read. Raises BuildError if one is
        missing or damaged.
        """
        git, _ = _gitpython()
        with tempfile.TemporaryFile() as wanted:
            wanted.write("".join(f"{name}\n" for name in names).encode())
            wanted.seek(0)
            process: Any = git(self.path).execute(
                self._command("cat-file", "--batch", "--buffer"),
                istream=wanted,
                env=self._environment(network=False),
                as_process=True,
            )
            with _ended(process):
                yield self._contents(process.stdout, names)

    def ask(self, *arguments: str) -> str | None:
        """Run a question to the repository itself; None if git answers by failing."""
        try:
            return self.run(*arguments).decode(errors="replace").strip()
        except (ResolutionError, NetworkError):
            return None

    def packed(self) -> int:
        """Return how many bytes of objects were fetched into it."""
        return sum(pack.stat().st_size for pack in self.path.glob("objects/pack/*.pack"))

    def has(self, name: str) -> bool:
        """Return whether object ``name`` (full id, or ``id^{tree}``) is here, without fetching."""
        return self.exists and self.ask("cat-file", "-e", name) is not None

    @contextmanager
    def _asking(self, *arguments: str) -> Iterator[Any]:
        """Run a git that may speak to servers; it has ended after the block."""
        git, _ = _gitpython()
        process: Any = git(self.path).execute(
            self._command(*arguments), env=self._environment(network=True), as_process=True
        )
        with process.proc:
            yield process

    def _check(self, process: Any, heard: Patient, said: str | bytes) -> None:  # noqa: ANN401
        if heard.hung:
            raise NetworkError(
                f"cannot reach {self.address}: not a word from it in {LONGEST:.0f} seconds",
                hint=f"check the network; try `git ls-remote {self.address}`",
            )
        if process.proc.returncode:
            raise explain(self.address, _text(said))

    def _records(self, process: Any) -> Iterator[str]:  # noqa: ANN401
        left = b""
        while piece := process.stdout.read(_PIECE):
            *whole, left = (left + piece).split(b"\0")
            yield from (record.decode(errors="surrogateescape") for record in whole)
        said = process.stderr.read()
        if process.proc.wait():
            raise explain(self.address, _text(said))

    def _contents(
        self, stream: BinaryIO, names: Sequence[str]
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        for name in names:
            head = stream.readline().split()
            if len(head) != 3 or head[1] != b"blob":
                raise self._damaged(name)
            size = int(head[2])
            pieces = self._pieces(stream, size, name)
            yield size, pieces
            for _ in pieces:  # what nobody read
                pass
            stream.read(1)

    def _pieces(self, stream: BinaryIO, size: int, name: str) -> Iterator[bytes]:
        """Yield a blob of ``size`` bytes; its name is SHA-1, or SHA-256 where that is used."""
        found = hashlib.new("sha256" if len(name) == 64 else "sha1", b"blob %d\0" % size)
        while size and (piece := stream.read(min(size, _PIECE))):
            size -= len(piece)
            found.update(piece)
            yield piece
        if size or found.hexdigest() != name:
            raise self._damaged(name)

    def _damaged(self, name: str) -> BuildError:
        return BuildError(
            f"the copy of {self.address} in {self.path} is damaged at {name}",
            hint=f"rm -r {self.path}, and run again: it is fetched anew",
        )

    def _command(self, *arguments: str) -> list[str]:
        forget = chain.from_iterable(("-u", name) for name in _LOCAL)
        options = chain.from_iterable(("-c", f"{key}={value}") for key, value in _OPTIONS.items())
        return ["env", *forget, "git", *options, *arguments]

    def _environment(self, *, network: bool) -> dict[str, str]:
        return {
            "GIT_DIR": str(self.path),
            "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS) if network else "none",
            "GIT_TERMINAL_PROMPT": "0",
            "SSH_ASKPASS": os.environ.get("SSH_ASKPASS", "false"),
            "SSH_ASKPASS_REQUIRE": "force",  # ssh asks nobody on the terminal, either
            "LC_ALL": "C",
        }


@contextmanager
def _ended(process: Any) -> Iterator[None]:  # noqa: ANN401
    """End a git that is read from, whether it was read to its end or not."""
    try:
        yield
    finally:
        process.stdout.close()
        process.stderr.close()
        process.proc.wait()  # its closed pipe ends it, where the reader gave up


def _gitpython() -> tuple[type[Git], type[GitCommandError]]:
    """Load GitPython; it does not import without git."""
    if shutil.which("git") is None:
        raise MissingToolError("git is not installed", hint="apt-get install git")
    from git import Git, GitCommandError  # noqa: PLC0415 (slow to load, and only needed here)

    return Git, GitCommandError


def _text(stderr: str | bytes) -> str:
    text = stderr.decode(errors="replace") if isinstance(stderr, bytes) else str(stderr)
    text = re.sub(r"^\s*stderr: '(.*)'$", r"\1", text.strip(), flags=re.DOTALL)
    return without_login(text).strip()
