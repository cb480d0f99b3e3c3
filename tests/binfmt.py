"""An emulator for arm64, known to the kernel for as long as a test runs; it takes root."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FOLDER = ROOT / "build" / "qemu"
_PROGRAM = "qemu-aarch64-static"
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_NAME = "envbuilder-tests-aarch64"
# As Debian's package registers it: the head of an ELF file of 64 bits for machine 183.
_MAGIC = bytes.fromhex("7f454c460201010000000000000000000200b700")
_MASK = bytes.fromhex("ffffffffffffff00fffffffffffffffffeffffff")


@contextlib.contextmanager
def emulator() -> Iterator[None]:
    """Let this machine run programs for arm64, in containers too; take that back at the end."""
    bring = [ROOT / "tests/debian_tool.sh", "bookworm", "qemu-user-static", _FOLDER, _PROGRAM]
    subprocess.run(bring, check=True)
    with contextlib.ExitStack() as after:
        if not (_BINFMT / "register").exists():
            subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT], check=True)
            after.callback(subprocess.run, ["umount", _BINFMT], check=True)
        fields = (b"", _NAME.encode(), b"M", b"", _quoted(_MAGIC), _quoted(_MASK))
        program = str(_FOLDER / _PROGRAM).encode()
        (_BINFMT / "register").write_bytes(b":".join((*fields, program, b"F")))
        after.callback((_BINFMT / _NAME).write_text, "-1")
        yield


def _quoted(data: bytes) -> bytes:
    return "".join(f"\\x{byte:02x}" for byte in data).encode()
