"""What to run inside an image, and what came of it, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from envbuilder.model.errors import UsageError
from envbuilder.model.image import Image, Layer
from envbuilder.model.progress import Progress

from .limits import MOST_PROCESSES

Holds = Literal["cgroup", "rlimit", "none"]
"""What holds a limit."""

KILLED = 137
"""Exit code of a command that we, or the kernel, killed (128 + SIGKILL), as shells count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or directory of this host that the command sees at ``target`` (absolute)."""

    source: Path
    target: str
    read_only: bool = True

    def __post_init__(self) -> None:
        _expect_absolute(self.target, "a mount target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Folders of layers that the command sees as one at ``target`` (absolute), read-only.

    Each of ``parts`` is a layer and the path of a folder in it, the lowest first; two at least. So
    what lies in a layer for one place is seen at another one, too, without a copy.
    """

    parts: tuple[tuple[Layer, str], ...]
    target: str

    def __post_init__(self) -> None:
        _expect_absolute(self.target, "a mount target")
        if len(self.parts) < 2:
            raise UsageError("an overlay has a lower and an upper part at least")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command; it replaces the image's Entrypoint and Cmd, and its ``env`` adds to Env.

    The root file system is read-only; ``/tmp``, ``/dev/shm`` and each path in ``tmpfs`` are private
    memory. There is no network but loopback. ``timeout`` is in seconds, ``memory`` in bytes and
    counts what lies in those tmpfs as well; ``processes`` counts threads, too. ``user``
    (``NAME|UID[:GROUP|GID]``) and ``workdir`` take the place of the image's own. ``gpus`` asks for
    every GPU of the host. ``overlays`` need a runtime that :attr:`~Runtime.overlays` layers.
    ``log``, if given, is a file of this host that gets both outputs as they
    come, instead of the result: at most OUTPUT_LIMIT bytes and the end of what is longer.
    """

    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    tmpfs: tuple[str, ...] = ()
    stdin: bytes = b""
    timeout: float = 600
    memory: int | None = None
    processes: int = MOST_PROCESSES
    gpus: bool = False
    user: str | None = None
    workdir: str | None = None
    log: Path | None = None

    def __post_init__(self) -> None:
        if not self.args:
            raise UsageError("a command needs at least the program to run")
        for path in self.tmpfs:
            _expect_absolute(path, "a tmpfs")
        if self.workdir is not None:
            _expect_absolute(self.workdir, "a working directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What came of a command: bytes as written, wall time in seconds, memory in bytes.

    ``exit_code`` is 128 + N if signal N ended the command. ``peak_memory`` is the resident size
    of its largest process, None if that was not to be learnt. ``memory_limit`` says what held
    the memory limit: "cgroup" bounds all processes together and tells ``out_of_memory``; "rlimit"
    bounds the writable data of each process, which then sees failing allocations; "none" where no
    limit was asked for. ``process_limit`` says the same of the limit of processes: "none" where
    root runs commands without cgroups. ``truncated``: an output was longer than OUTPUT_LIMIT; its
    beginning is kept. ``out_of_disk``: it took more of the disk than it may, and was killed if it
    still ran.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    peak_memory: int | None
    timed_out: bool = False
    out_of_memory: bool = False
    out_of_disk: bool = False
    truncated: bool = False
    memory_limit: Holds = "none"
    process_limit: Holds = "none"


def check_sources(command: Command) -> None:
    """Raise UsageError if something to mount does not exist on this host."""
    for mount in command.mounts:
        if not mount.source.exists():
            raise UsageError(f"cannot mount {mount.source} at {mount.target}: it does not exist")


class Prepared(Protocol):
    """An image that is ready to run commands."""

    def run(self, command: Command) -> Completed:
        """Run one command to its end; whatever ends it, nothing of it is left on the host.

        A command that fails, runs out of time or out of memory is a result, not an error. Raises
        MissingToolError if the host cannot run it, SmokeError if the image cannot start it,
        UsageError if a mount's source does not exist.
        """


class Runtime(Protocol):
    """Something that runs commands inside images."""

    @property
    def name(self) -> str:
        """Its name for people: "docker", "crun", "runc"."""

    @property
    def overlays(self) -> bool:
        """Whether a command of it may have such: its layers lie unpacked on this machine."""

    def prepared(self, image: Image, *, progress: Progress) -> AbstractContextManager[Prepared]:
        """Make ``image`` ready for several commands; take it down again at the end."""

    def run(self, image: Image, command: Command, *, progress: Progress) -> Completed:
        """Run one command inside ``image``; see :meth:`Prepared.run`."""


def _expect_absolute(path: str, what: str) -> None:
    parts = PurePosixPath(path)
    if not parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise UsageError(f"{path!r} is not {what}: expected an absolute path without '..'")
