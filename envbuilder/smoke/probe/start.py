"""What the image starts: the entry point, as its user, in its folder; and one command, run."""

from __future__ import annotations

import getpass
import os
import pwd
import resource
import shutil
import ssl
import stat
import subprocess
import tempfile
from importlib.metadata import distributions
from typing import IO

from .environment import canonical
from .facts import Emitter, Facts, describe
from .programs import find, follow

READ_ROOTS = ("aiohttp", "websockets", "tornado", "nltk", "openai-whisper")
"""Distributions that ask the system for TLS roots; requests and httpx bring their own."""
PROGRAMS = ("git", "curl", "wget")
"""Programs that do the same."""
TAIL = 4000
"""How much (bytes) of a command's output is worth keeping."""


def run(request: Facts, emit: Emitter) -> None:
    """Emit the user, the folders and the limits, then one item per link of the entry point."""
    start = request["start"]
    emit(facts={"args": start["args"], "user": _user(), "limits": _limits()})
    emit(facts={"home": _home(request["environ"].get("HOME") or "/")})
    emit(facts={"workdir": _folder(start["workdir"])})
    emit(doing="looking for TLS roots")
    emit(facts={"roots": _has_roots(), "read_roots": _readers()})
    if start["args"]:
        emit(doing=f"following {start['args'][0]}")
        for link in follow(start["args"], start["workdir"]):
            emit(item=link)


def run_command(request: Facts, emit: Emitter) -> None:
    """Run the command that the spec names, in the image's folder, and emit how it ended."""
    start = request["start"]
    args, folder = start["run"], start["workdir"]
    emit(doing=f"running {' '.join(args)}")
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [find(args[0], folder) or args[0], *args[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder if os.path.isdir(folder) else "/",
                check=False,
            )
        except OSError as error:
            emit(item={"args": args, "exit_code": None, "output": describe(error)})
            return
        text = tail(output)
    emit(item={"args": args, "exit_code": done.returncode, "output": text})


def tail(output: IO[bytes]) -> str:
    """Return the end of what a command printed into ``output``."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TAIL))
    return output.read().decode("utf-8", "replace")


def _user() -> Facts:
    """Return who runs here; ``problem`` if Python cannot name them (torch asks at import)."""
    found: Facts = {"uid": os.geteuid(), "gid": os.getegid(), "name": None, "problem": ""}
    try:
        found["name"] = getpass.getuser()
    except (KeyError, OSError, ImportError) as error:
        found["problem"] = describe(error)
    return found


def _home(path: str) -> Facts:
    return {**_folder(path), "writable": may_write(path), "named": _is_named()}


def _is_named() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def _folder(path: str) -> Facts:
    return {"path": path, "exists": os.path.isdir(path), "enters": os.access(path, os.X_OK)}


def may_write(path: str) -> bool | None:
    """Return whether this user may write into ``path``, by its mode: the smoke's root is read-only.

    None if owners are not to be seen: an unprivileged host shows all files as its own.
    """
    if os.geteuid() == 0:
        return True
    if _is_mapped():
        return None
    try:
        found = os.stat(path)
    except OSError:
        return False
    if found.st_uid == os.geteuid():
        return bool(found.st_mode & stat.S_IWUSR)
    if found.st_gid in {os.getegid(), *os.getgroups()}:
        return bool(found.st_mode & stat.S_IWGRP)
    return bool(found.st_mode & stat.S_IWOTH)


def _is_mapped(file: str = "/proc/self/uid_map") -> bool:
    """Return whether the container knows one user alone (user_namespaces(7))."""
    with open(file, encoding="ascii") as stream:
        lines = [line.split() for line in stream]
    return len(lines) == 1 and lines[0][2] == "1"


def _has_roots() -> bool:
    """Return whether this Python finds any certificate to trust."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile and os.path.getsize(paths.cafile):
        return True
    return bool(paths.capath and os.listdir(paths.capath))


def _readers() -> list[str]:
    """Name what is installed and reads the system's roots."""
    installed = {canonical(dist.metadata["Name"] or "") for dist in distributions()}
    programs = [name for name in PROGRAMS if shutil.which(name)]
    return [*(name for name in READ_ROOTS if name in installed), *programs]


def _limits() -> Facts:
    """Return what a command may use here: shared memory (bytes), files, locked memory (bytes)."""
    shared = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None  # noqa: S108
    return {
        "shm": shared.f_frsize * shared.f_blocks if shared else None,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
    }
