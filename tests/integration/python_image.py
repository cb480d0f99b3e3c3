"""This interpreter as files of an image: what a container needs to run Python, in a second."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

PYTHON = "/opt/py/bin/python3"
SITE = f"opt/py/lib/python3.{sys.version_info.minor}/site-packages"
_LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "tkinter", "ensurepip", "__pycache__"}


def standard_library() -> dict[str, bytes]:
    """Return this interpreter as it runs elsewhere: program, library, and what they link to."""
    program = Path(os.path.realpath(sys.executable))
    files = {PYTHON.lstrip("/"): program.read_bytes()}
    library = Path(sysconfig.get_path("stdlib"))
    for path in library.rglob("*"):
        inside = path.relative_to(library)
        if path.is_file() and not _LEFT_OUT & set(inside.parts) and "config-" not in str(inside):
            files[f"opt/py/lib/{library.name}/{inside}"] = path.read_bytes()
    modules = [*library.glob("lib-dynload/*.so"), program]
    listed = subprocess.run(["ldd", *modules], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        if "=> /" in line or line.strip().startswith("/lib"):
            found = line.split("=>")[-1].split("(")[0].strip()
            if found.startswith("/") and not found.endswith(":"):
                files[found.lstrip("/")] = Path(found).read_bytes()
    return files


def standalone_archive() -> tuple[bytes, dict[str, bytes]]:
    """Return this interpreter packed as standalone builds are, and the libraries that it links.

    Its own library lies in the archive as well, where only LD_LIBRARY_PATH finds it.
    """
    files = standard_library()
    inside = {path: data for path, data in files.items() if path.startswith("opt/py/")}
    libraries = {path: data for path, data in files.items() if path not in inside}
    own = {path: data for path, data in libraries.items() if "/libpython3" in path}
    inside |= {f"opt/py/lib/{path.rpartition('/')[2]}": data for path, data in own.items()}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, data in inside.items():
            program = f"bin/python3.{sys.version_info.minor}"
            name = path.replace("opt/py/", "python/").replace("bin/python3", program)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if "/bin/" in name else 0o644
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(made.getvalue(), compresslevel=1), libraries
