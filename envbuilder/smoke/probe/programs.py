"""Follow a program to what really runs it: its file, its interpreter, its loader, its libraries."""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
import sys
from typing import Iterator

from .facts import Facts

LINKS = 5
"""How many interpreters of interpreters are followed; the kernel itself stops there."""
HEAD = 1 << 16
"""How much (bytes) of a program is read: headers stand at its start."""
WRAPPERS = ("tini", "dumb-init", "docker-init", "catatonit")
"""Programs that start what stands behind ``--``."""
MISSING = ("not found", "cannot open shared object", "Error loading", "Error relocating")
"""How the loaders of glibc and musl say that something is not there."""


def follow(args: list[str], folder: str) -> Iterator[Facts]:
    """Yield each link of the chain that starts ``args`` in ``folder``; the last may be broken.

    ``problem`` is empty if a link is sound.
    """
    yield from _links(args[0], folder, "the entry point")
    if os.path.basename(args[0]) in WRAPPERS and "--" in args[:-1]:
        behind = args[args.index("--") + 1 :]
        yield from follow(behind, folder)
    elif os.path.basename(args[0]).startswith("python"):
        yield from _python(args, folder)


def find(program: str, folder: str) -> str | None:
    """Return the path that the kernel would run for ``program``, whether it can or not."""
    if "/" in program:
        path = os.path.join(folder, program)
        return path if os.path.lexists(path) else None
    return shutil.which(program) or shutil.which(program, mode=os.F_OK)


def _links(program: str, folder: str, role: str) -> Iterator[Facts]:
    for _ in range(LINKS):
        path = find(program, folder)
        problem, follower = ("there is no such program", "") if path is None else _look(path)
        yield {"role": role, "program": program, "path": path, "problem": problem}
        if problem or not follower:
            return
        role, program = f"the interpreter of {program}", follower


def _look(path: str) -> tuple[str, str]:
    """Return what keeps ``path`` from running, and the interpreter that it names."""
    if not os.path.exists(path):
        return "it is a link to nothing", ""
    if os.path.isdir(path):
        return "it is a folder", ""
    if not os.access(path, os.X_OK):
        return "it is not executable for this user", ""
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
    except OSError:  # executable and not readable: the kernel runs it all the same
        return "", ""
    if head[:2] == b"#!":
        return _script(head)
    if head[:4] == b"\x7fELF":
        return _binary(path, head), ""
    return "it is neither a script with #! nor a program of this machine", ""


def _script(head: bytes) -> tuple[str, str]:
    line = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace")
    if line.endswith("\r"):
        return "its first line ends with a carriage return (Windows), so no interpreter fits", ""
    words = line.split(None, 1)
    if not words:
        return "its first line names no interpreter", ""
    if os.path.basename(words[0]) == "env" and len(words) > 1:
        named = [word for word in shlex.split(words[1]) if not word.startswith("-")]
        named = [word for word in named if "=" not in word]
        return "", named[0] if named else words[0]
    return "", words[0]


def _binary(path: str, head: bytes) -> str:
    """Return what an ELF file lacks: this machine, its loader, or libraries."""
    with open(os.path.realpath(sys.executable), "rb") as stream:
        own = stream.read(20)
    if head[4:6] + head[18:20] != own[4:6] + own[18:20]:
        return "it was built for another machine"
    loader = loader_of(head)
    if loader is None:
        return ""  # linked statically
    if not os.path.exists(loader):
        return f"its loader {loader} is missing: it was built for another C library"
    return _libraries(loader, path)


def loader_of(head: bytes) -> str | None:
    """Return the loader that the ELF file beginning with ``head`` asks for (PT_INTERP), or None."""
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    try:
        (start,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        for number in range(count):
            at = start + number * size
            (kind,) = struct.unpack_from(order + "I", head, at)
            if kind == 3:
                form, first, second = ("Q", 8, 32) if wide else ("I", 4, 16)
                (offset,) = struct.unpack_from(order + form, head, at + first)
                (length,) = struct.unpack_from(order + form, head, at + second)
                return head[offset : offset + length].rstrip(b"\0").decode("utf-8", "replace")
    except struct.error:
        return None
    return None


def _libraries(loader: str, path: str) -> str:
    """Ask the loader itself, as ldd does: it knows rpaths, caches and versions of symbols."""
    try:
        done = subprocess.run(
            [loader, "--list", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # a loader that cannot list: running it is what tells
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    lacking = [" ".join(line.split()) for line in lines if any(sign in line for sign in MISSING)]
    return "; ".join(lacking[:5])


def _python(args: list[str], folder: str) -> Iterator[Facts]:
    """Yield the module or script that a Python is started with."""
    for at, word in enumerate(args[1:], start=1):
        if word == "-m" and at + 1 < len(args):
            yield _module(args[0], args[at + 1], folder)
            return
        if not word.startswith("-"):
            path = os.path.join(folder, word)
            lacking = "" if os.path.exists(path) else "there is no such file"
            yield {"role": "the script", "program": word, "path": path, "problem": lacking}
            return
        if word == "-c":
            return


FIND = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"


def _module(python: str, name: str, folder: str) -> Facts:
    """Return whether ``python`` finds the module ``name``; no more than its parents are run."""
    found: Facts = {"role": "the module", "program": name, "path": None, "problem": ""}
    program = find(python, folder)
    if program is None:
        return found
    done = subprocess.run(
        [program, "-B", "-c", FIND, name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder if os.path.isdir(folder) else "/",
        check=False,
    )
    if done.returncode:
        last = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
        found["problem"] = last[0][:300] if last else "there is no such module"
    return found
