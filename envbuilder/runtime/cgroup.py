"""Cgroups around one run: their limits hold for all processes of a command together.

The run's first process enters them, all others inherit them. Works with both kernel interfaces:
"v1" (a hierarchy for each controller) and "v2" (one for all), as near to the place where we
ourselves are as the kernel allows: with v1 below us, with v2 beside us, since a group with
processes of its own can have no limited children (kernel docs, admin-guide/cgroup-v1/memory,
cgroup-v1/pids, cgroup-v2).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "envbuilder-"
_GIVE_UP = 5.0  # seconds that killed processes are given to leave
_CONTROLLERS = ("memory", "pids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroups:
    """Cgroups that exist: ``paths`` maps each controller whose limit holds to a directory."""

    paths: Mapping[str, Path] = field(default_factory=dict)

    @property
    def procs(self) -> tuple[Path, ...]:
        """The files through which a process enters."""
        return tuple(path / "cgroup.procs" for path in dict.fromkeys(self.paths.values()))

    def out_of_memory(self) -> bool:
        """Return whether the kernel killed a process in it for lack of memory."""
        if (path := self.paths.get("memory")) is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with suppress(FileNotFoundError):
                facts = dict(line.split() for line in (path / name).read_text().splitlines())
                return int(facts["oom_kill"]) > 0
        return False


@contextmanager
def cgroups(limits: Mapping[str, int]) -> Iterator[Cgroups]:
    """Lend cgroups with ``limits``: of "memory" (bytes, swap included) and "pids" (with threads).

    What the host does not allow is missing in the result. They are removed at the end, together
    with those that runs killed with -9 have left.
    """
    parents = find_parents(Path("/proc/self/cgroup").read_text(), _ROOT)
    made: dict[Path, Path] = {}
    with ExitStack() as stack:
        for parent in {parents[each] for each in limits if each in parents}:
            remove_abandoned(parent)
            try:
                path, lock = _locked(parent)
            except OSError:  # the mode bits promised it, but a read-only mount says no
                continue
            stack.callback(os.close, lock)
            stack.callback(_remove, path)
            made[parent] = path
        paths = {each: made[parents[each]] for each in limits if parents.get(each) in made}
        for controller, path in paths.items():
            set_limit(path, controller, limits[controller])
        yield Cgroups(paths=paths)


def remove_abandoned(parent: Path) -> None:
    """Remove the cgroups below ``parent`` whose envbuilder no longer runs: nobody locks them.

    Process ids would not tell: containers that see the same cgroups do not share those.
    """
    for path in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError), _opened(path) as fd:  # locked, in use, or another run was quicker
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rmdir()


def _locked(parent: Path) -> tuple[Path, int]:
    """Make a cgroup below ``parent``; return it, and the descriptor through which we lock it."""
    while True:
        path = parent / f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}"
        path.mkdir()
        with suppress(FileNotFoundError), _opened(path) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if path.exists():  # else another run took it for abandoned: once more
                return path, os.dup(fd)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def find_parents(membership: str, root: Path) -> dict[str, Path]:
    """Return, for each controller, the nearest cgroup from ours upwards below which it may limit.

    ``membership`` is the text of ``/proc/self/cgroup``, ``root`` where cgroups are mounted. A
    process is in one cgroup of v2 only: both controllers of v2 share theirs, and memory chooses.
    """
    own = {line.split(":")[1]: line.split(":", 2)[2] for line in membership.splitlines()}
    found: dict[str, Path] = {}
    for controller in _CONTROLLERS:
        if controller in own:
            places = _upwards(root / controller, own[controller])
            places = [place for place in places if (place / "cgroup.procs").exists()]
        else:
            shared = found.get("memory") if "memory" not in own else None
            places = [shared] if shared else _upwards(root, own.get("", "/"))
            places = [place for place in places if controller in _handed_on(place)]
        if places:
            found[controller] = places[-1]
    return found


def _upwards(mount: Path, own: str) -> list[Path]:
    """List the cgroups that may be written to, the outermost first."""
    place = mount / own.lstrip("/")
    above = [each for each in (place, *place.parents) if each.is_relative_to(mount)]
    return [each for each in reversed(above) if os.access(each, os.W_OK)]


def _handed_on(parent: Path) -> list[str]:
    """Name the controllers that children get: one with processes of its own gives none."""
    switch = parent / "cgroup.subtree_control"
    return switch.read_text().split() if switch.exists() else []


def set_limit(path: Path, controller: str, limit: int) -> None:
    """Limit a cgroup's processes, or its memory, of which none may be swapped out in addition."""
    if controller == "pids":
        (path / "pids.max").write_text(str(limit))
        return
    if (path / "memory.max").exists():
        (path / "memory.max").write_text(str(limit))
        swap, value = path / "memory.swap.max", "0"
    else:
        (path / "memory.limit_in_bytes").write_text(str(limit))
        swap, value = path / "memory.memsw.limit_in_bytes", str(limit)
    if swap.exists():  # a kernel may count no swap, or have none
        swap.write_text(value)


def _remove(path: Path) -> None:
    deadline = time.monotonic() + _GIVE_UP
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
