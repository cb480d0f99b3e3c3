"""Whether this machine runs programs of a platform: by itself, or through an emulator.

Linux starts an emulator by what ``binfmt_misc`` was told. Only with its flag F is it found from
within a container or a root file system in the making, so a program is tried in one.
"""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import tempfile
from pathlib import Path

from envbuilder.model.errors import MissingToolError
from envbuilder.model.spec_words import MACHINES

INSTALL = "apt-get install qemu-user-static binfmt-support"
"""What brings emulators, and tells the kernel of them."""

_EXIT = {  # exit(0), as machine code, and the number of the machine in ELF's header
    "linux/amd64": (62, "b83c00000031ff0f05"),
    "linux/arm64": (183, "a80b80d2000080d2010000d4"),
}
_PATIENCE = 60  # seconds
_BASE, _HEAD = 0x400000, 64 + 56


def can_run(wanted: str) -> bool:
    """Return whether a container on this machine can run programs of the platform ``wanted``."""
    if platform.machine() == MACHINES[wanted]:
        return True
    with tempfile.TemporaryDirectory(prefix="envbuilder-") as folder:
        program = Path(folder, "exit")
        program.write_bytes(_program(wanted))
        program.chmod(0o755)
        mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *mapped, "--mount", f"--root={folder}", "/exit"]
        try:
            tried = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return False
        return tried.returncode == 0


def no_emulator(wanted: str, what: str) -> MissingToolError:
    """Make the error: ``what`` runs programs of the platform ``wanted``, and none runs here."""
    return MissingToolError(
        f"{what} runs programs for {wanted}, and this machine has no emulator for them",
        hint=INSTALL,
    )


def _program(wanted: str) -> bytes:
    """Return a whole program for Linux, of one segment, that ends well at once.

    Source: the ELF-64 object file format; the numbers of machines are those of the gABI.
    """
    machine, code = _EXIT[wanted][0], bytes.fromhex(_EXIT[wanted][1])
    size, start = _HEAD + len(code), _BASE + _HEAD
    kind = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bits, little-endian
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return kind + header + segment + code
