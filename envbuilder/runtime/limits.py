"""What one command may use of this host at most, whatever it asks for."""

from __future__ import annotations

import os
import resource
from pathlib import Path

MOST_PROCESSES = 1 << 14
"""Processes and threads of a command together; a model server may have thousands."""

LARGEST_FILE = 1 << 36
"""Bytes of one file that a command writes, wherever it may write: 64 GiB."""

_MEMINFO = Path("/proc/meminfo")
_SHARE = 8
_INODES = "1m"


def most_memory() -> int:
    """Return the bytes that a command gets where nobody said how many: all but an eighth."""
    facts = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    total = int(facts["MemTotal"].split()[0]) << 10
    return total - total // _SHARE


def tmpfs_options(size: int) -> list[str]:
    """Return the mount options that bound a file system in memory to ``size`` bytes."""
    return [f"size={size}", f"nr_inodes={_INODES}"]


def process_limits(*, data: int | None, processes: int | None) -> dict[str, int]:
    """Return each process's own limits; those of ``data`` and ``processes`` if no cgroup has them.

    None is more than we may have ourselves. The kernel counts the processes of a user on the whole
    host, and does not count root's.
    """
    wanted = {"CORE": 0, "FSIZE": LARGEST_FILE, "DATA": data, "NPROC": processes}
    return {
        f"RLIMIT_{name}": _at_most_ours(f"RLIMIT_{name}", value)
        for name, value in wanted.items()
        if value is not None
    }


def counts_processes() -> bool:
    """Return whether a limit of processes without a cgroup holds for what we start."""
    return os.geteuid() != 0


def _at_most_ours(name: str, value: int) -> int:
    hard = resource.getrlimit(getattr(resource, name))[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
