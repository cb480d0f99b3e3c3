"""A memory cgroup around one run: its limit holds for all processes of a command together.

The run's first process enters it, all others inherit it. Works with both kernel interfaces:
"v1" (``memory.limit_in_bytes``) and "v2" (``memory.max``), as near to the place where we ourselves
are as the kernel allows: with v1 below us, with v2 beside us, since a group with processes of its
own can have no limited children (kernel docs, admin-guide/cgroup-v1/memory, cgroup-v2).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "envbuilder-"
_GIVE_UP = 5.0  # seconds that killed processes are given to leave


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCgroup:
    """A cgroup that exists; ``path`` is its directory."""

    path: Path

    @property
    def procs(self) -> Path:
        """The file through which a process enters."""
        return self.path / "cgroup.procs"

    def out_of_memory(self) -> bool:
        """Return whether the kernel killed a process in it for lack of memory."""
        for name in ("memory.events", "memory.oom_control"):
            with suppress(FileNotFoundError):
                facts = dict(line.split() for line in (self.path / name).read_text().splitlines())
                return int(facts["oom_kill"]) > 0
        return False


@contextmanager
def memory_cgroup(limit: int) -> Iterator[MemoryCgroup | None]:
    """Lend a cgroup limited to ``limit`` bytes, swap included; None if the host allows none.

    It is removed at the end, together with those that runs killed with -9 have left.
    """
    parent = find_parent(Path("/proc/self/cgroup").read_text(), _ROOT)
    if parent is None:
        yield None
        return
    remove_abandoned(parent)
    path = parent / f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}"
    try:
        path.mkdir()
    except OSError:  # the mode bits promised it, but a read-only mount says no
        yield None
        return
    try:
        set_limit(path, limit)
        yield MemoryCgroup(path=path)
    finally:
        _remove(path)


def remove_abandoned(parent: Path) -> None:
    """Remove the cgroups below ``parent`` whose envbuilder no longer runs."""
    for path in parent.glob(f"{_PREFIX}*-*"):
        pid = path.name.split("-")[1]
        if not Path("/proc", pid).exists():
            with suppress(OSError):  # another run was quicker, or its pid is of another namespace
                path.rmdir()


def find_parent(membership: str, root: Path) -> Path | None:
    """Return the nearest cgroup, from ours upwards, below which we may limit memory.

    ``membership`` is the text of ``/proc/self/cgroup``, ``root`` where cgroups are mounted.
    """
    own = {line.split(":")[1]: line.split(":", 2)[2] for line in membership.splitlines()}
    is_v1 = "memory" in own
    mount = root / "memory" if is_v1 else root
    place = mount / own.get("memory" if is_v1 else "", "/").lstrip("/")
    serves = _serves_v1 if is_v1 else _serves_v2
    for parent in (place, *place.parents):
        if not parent.is_relative_to(mount):
            break
        if serves(parent) and os.access(parent, os.W_OK):
            return parent
    return None


def _serves_v1(parent: Path) -> bool:
    return (parent / "memory.limit_in_bytes").exists()


def _serves_v2(parent: Path) -> bool:
    """Return whether children get a memory controller: one with processes of its own gives none."""
    switch = parent / "cgroup.subtree_control"
    return switch.exists() and "memory" in switch.read_text().split()


def set_limit(path: Path, limit: int) -> None:
    """Limit a cgroup's memory to ``limit`` bytes, of which none may be swapped out in addition."""
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
