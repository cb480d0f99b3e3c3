"""Which system calls a contained command may make: ``seccomp.json``, for crun and runc.

The list holds what Docker's own profile leaves to a process without capabilities, less io_uring
and unusual families of sockets, for the machine's own calls alone: those of 32 bits do not exist.
Whatever it does not name answers ENOSYS, as an older kernel would, so that C libraries take the
older way; what only administrators may do answers EPERM.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("seccomp.json")


def profile() -> dict[str, Any]:
    """Return the profile as the OCI runtime-spec has it ("Linux", "Seccomp")."""
    found: dict[str, Any] = json.loads(_FILE.read_text())
    for rule in found["syscalls"]:
        del rule["comment"]
    return found
