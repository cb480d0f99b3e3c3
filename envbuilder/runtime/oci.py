"""Run commands with crun or runc, as root or not, without a daemon.

Every run gets a cage (``cage.py``): private mount, pid and network namespaces whose first process
dies with us, by the kernel's hand. What a run mounts or starts lives in there and nowhere else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from envbuilder.model.errors import MissingToolError, SmokeError
from envbuilder.model.image import Image, Layer
from envbuilder.model.owner import make_folder
from envbuilder.model.progress import Progress, Silent
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from . import cdi
from .cgroup import Cgroups, cgroups
from .command import KILLED, Command, Completed, Holds, check_sources
from .limits import counts_processes, most_memory, process_limits
from .merged import read_text
from .oci_config import in_memory, oci_config
from .output import OUTPUT_LIMIT
from .pump import ProgramResult, pump
from .room import Room
from .trees import is_sound, unpacked
from .user import find_user

CAGE = Path(__file__).with_name("cage.py")
Network = Literal["none", "host"]
"""What a cage has of a network: its own loopback alone, or the host's network."""

_SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # Debian keeps runc there


@dataclass(frozen=True, slots=True, kw_only=True)
class OciRuntime:
    """Runs commands with the OCI runtime ``program`` on layers unpacked into ``store``."""

    program: Path
    store: Store

    @property
    def name(self) -> str:
        """The program's name: crun or runc."""
        return self.program.name

    @property
    def overlays(self) -> bool:
        """True: each layer is a folder of the store."""
        return True

    @contextmanager
    def prepared(self, image: Image, *, progress: Progress) -> Iterator[PreparedTrees]:
        """Unpack the layers that no earlier image had; they stay in the store.

        No prune takes them away before the block's end.
        """
        with self.in_use(_once_each(image.layers), progress=progress) as trees:
            yield PreparedTrees(runtime=self, image=image, trees=trees, progress=progress)

    @contextmanager
    def in_use(self, layers: Sequence[Layer], *, progress: Progress) -> Iterator[tuple[Path, ...]]:
        """Unpack ``layers``; their directories stay until the block ends, or we are killed."""
        digests = {layer.digest for layer in layers}
        while True:
            trees = unpacked(layers, store=self.store, progress=progress)
            with self.store.holds.of(digests):
                if all(is_sound(self.store, digest) for digest in digests):  # no prune was faster
                    yield trees
                    return

    def run(self, image: Image, command: Command, *, progress: Progress) -> Completed:
        """Run one command inside ``image``."""
        with self.prepared(image, progress=progress) as prepared:
            return prepared.run(command)


def _once_each(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return ``layers`` without the lower ones of those that are there twice, whatever their title.

    An image may hold one more than once, and overlayfs takes no folder twice: the upper one counts.
    """
    upper: dict[Digest, Layer] = {}
    for layer in reversed(layers):
        upper.setdefault(layer.digest, layer)
    return tuple(reversed(upper.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTrees:
    """An image as one directory per layer, lowest first."""

    runtime: OciRuntime
    image: Image
    trees: tuple[Path, ...]
    progress: Progress = field(default_factory=Silent)

    def run(self, command: Command) -> Completed:
        """Run one command to its end; see :meth:`command.Prepared.run`."""
        check_sources(command)
        limits = {"pids": command.processes}
        if command.memory is not None:
            limits["memory"] = command.memory
        with cgroups(limits) as held, self._overlays(command) as overlays:
            return self._run(command, held, overlays)

    def _run(self, command: Command, held: Cgroups, overlays: list[list[str]]) -> Completed:
        started = time.monotonic()
        report, outcome = _caged(self._job(command, held, overlays), command)
        seconds = time.monotonic() - started
        out_of_memory = held.out_of_memory()
        ended = outcome.timed_out or outcome.out_of_disk or out_of_memory
        if not report and not ended:
            raise _no_cage(outcome.stderr.decode(errors="replace"))
        check_report(report, command.args[0])
        return Completed(
            exit_code=report.get("exit_code", KILLED),
            stdout=outcome.stdout,
            stderr=outcome.stderr,
            seconds=seconds,
            peak_memory=report.get("peak_memory"),
            timed_out=outcome.timed_out,
            out_of_memory=out_of_memory,
            out_of_disk=outcome.out_of_disk,
            truncated=outcome.truncated,
            memory_limit=_holder(held, "memory", otherwise=command.memory is not None),
            process_limit=_holder(held, "pids", otherwise=counts_processes()),
        )

    def _job(self, command: Command, held: Cgroups, overlays: list[list[str]]) -> dict[str, Any]:
        limits = process_limits(
            data=None if "memory" in held.paths else command.memory,
            processes=None if "pids" in held.paths else command.processes,
        )
        config = self.config(command, scratch=_scratch(command, held), limits=limits)
        joined = {"join": [str(path) for path in held.procs], "overlays": overlays}
        return self.job(config, network="none") | joined

    @contextmanager
    def _overlays(self, command: Command) -> Iterator[list[list[str]]]:
        """Unpack what overlays are made of; yield the folders of each here, lowest first."""
        layers = [layer for overlay in command.overlays for layer, _ in overlay.parts]
        with self.runtime.in_use(layers, progress=self.progress) as trees:
            tree = dict(zip(layers, trees, strict=True))
            yield [
                [str(tree[layer] / folder) for layer, folder in overlay.parts]
                for overlay in command.overlays
            ]

    def config(
        self, command: Command, *, scratch: int, limits: Mapping[str, int]
    ) -> dict[str, Any]:
        """Return the runtime's configuration for ``command``: see :func:`oci_config`.

        Raises MissingToolError if this runtime cannot run it here.
        """
        settings = self.image.settings
        wanted = settings.get("User") or "" if command.user is None else command.user
        user = find_user(
            wanted,
            passwd=read_text(self.trees, "etc/passwd"),
            group=read_text(self.trees, "etc/group"),
        )
        unprivileged = os.geteuid() != 0
        if unprivileged and user.uid != 0 and self.runtime.name == "runc":
            raise MissingToolError(
                f"runc cannot run a command as user {wanted} of an image without being root",
                hint="apt-get install crun",
            )
        config = oci_config(
            settings, command, user=user, mapped=unprivileged, scratch=scratch, limits=limits
        )
        return cdi.with_devices(config, cdi.nvidia_devices()) if command.gpus else config

    def job(self, config: Mapping[str, Any], *, network: Network) -> dict[str, Any]:
        """Return what the cage is told, so that it runs ``config`` on these trees."""
        return {
            "directory": str(_mount_point(self.runtime.store)),
            "trees": [str(tree) for tree in self.trees],
            "config": config,
            "runtime": str(self.runtime.program),
            "overlays": [],
            "join": [],
            "network": network,
        }


def find_runtime(store: Store) -> OciRuntime:
    """Return a runtime on crun, else runc; its cage has been tried.

    Raises MissingToolError if neither is installed, or where the host forbids what a cage takes.
    """
    for name in ("crun", "runc"):
        if program := find_program(name):
            for needed in ("unshare", "setpriv"):
                if not find_program(needed):
                    raise MissingToolError(
                        f"{needed} is not installed, without which {name} cannot be caged",
                        hint="apt-get install util-linux",
                    )
            _try_cage()
            return OciRuntime(program=program, store=store)
    raise MissingToolError(
        "no container runtime is installed: neither crun nor runc was found",
        hint="apt-get install crun",
    )


def find_program(program: str) -> Path | None:
    """Return where ``program`` is installed, system folders included."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_PATH))
    found = shutil.which(program, path=path)
    return Path(found).absolute() if found else None


def _caged(job: dict[str, Any], command: Command) -> tuple[dict[str, Any], ProgramResult]:
    """Run ``job`` in a cage; return its report (empty if it was killed) and its output."""
    with memory_file() as job_fd, memory_file() as report_fd:
        os.pwrite(job_fd, json.dumps(job).encode(), 0)
        arguments = [sys.executable, "-I", "-S", str(CAGE), str(job_fd), str(report_fd)]
        outcome = pump(
            [*namespaces(), *arguments],
            stdin=command.stdin,
            timeout=command.timeout,
            limit=OUTPUT_LIMIT,
            log=command.log,
            pass_fds=(job_fd, report_fd),
            room=Room(command.mounts),
        )
        report = os.pread(report_fd, os.fstat(report_fd).st_size, 0)
    return json.loads(report or b"{}"), outcome


def _try_cage() -> None:
    """Fail now, in milliseconds, rather than after the build that is to be smoked."""
    tried = subprocess.run(
        [*namespaces(), "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if tried.returncode:
        raise _no_cage(tried.stderr.decode(errors="replace"))


def check_report(report: Mapping[str, Any], program: str) -> None:
    """Raise MissingToolError or SmokeError if a cage says that it could not start ``program``."""
    if "cage_error" in report:
        raise _no_cage(report["cage_error"])
    if "start_error" in report:
        raise SmokeError(
            f"{program} cannot be started in the image: {report['start_error']}",
            hint="look into the image with `envbuilder inspect`",
        )


def namespaces(network: Network = "none") -> list[str]:
    """Return the command prefix that makes a cage; its first process dies when we die."""
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [
        str(find_program("setpriv")),
        "--pdeathsig=KILL",
        str(find_program("unshare")),
        *mapped,
        *("--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *(["--net"] if network == "none" else []),
        "--",
    ]


@contextmanager
def memory_file() -> Iterator[int]:
    """Yield the descriptor of a file in memory; a child may inherit it."""
    descriptor = os.memfd_create("envbuilder")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _mount_point(store: Store) -> Path:
    path = store.root / "cage"
    return make_folder(path, mode=0o700).absolute()


def _scratch(command: Command, held: Cgroups) -> int:
    """Return the bytes that each file system in memory may hold, so that all keep the limit."""
    memory = most_memory() if command.memory is None else command.memory
    together = command.memory is not None and "memory" in held.paths
    return memory if together else memory // len(in_memory(command))


def _holder(held: Cgroups, controller: str, *, otherwise: bool) -> Holds:
    if controller in held.paths:
        return "cgroup"
    return "rlimit" if otherwise else "none"


def _no_cage(reason: str) -> MissingToolError:
    return MissingToolError(
        f"this host does not allow us to run containers: {reason.strip() or 'killed'}",
        hint="run as root, allow unprivileged user namespaces, or use --runtime docker;"
        " `envbuilder doctor` tells what is missing",
    )
