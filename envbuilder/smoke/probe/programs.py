"""Follow a program to what really runs it: its file, its interpreter, its loader, its libraries."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from typing import Iterator

from .arguments import is_python, of_python, wrapped
from .facts import Facts

LINKS = 5
"""How many interpreters of interpreters are followed; the kernel itself stops there."""
HEAD = 1 << 16
"""How much (bytes) of a program is read: headers stand at its start."""
MISSING = ("not found", "cannot open shared object", "Error loading", "Error relocating")
"""How the loaders of glibc and musl say that something is not there."""


def follow(args: list[str], folder: str) -> Iterator[Facts]:
    """Yield each link of the chain that starts ``args`` in ``folder``; the last may be broken.

    ``problem`` is empty if a link is sound.
    """
    yield from _links(args[0], folder, "the entry point")
    behind = wrapped(args)
    if behind:
        yield from follow(behind, folder)
    elif is_python(args[0]):
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
        return "", (wrapped([words[0], words[1].rstrip()]) or words)[0]  # the kernel: one argument
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
    kind, word, flags = of_python(args[1:])
    if word is None:
        return
    if kind == "m":
        yield _module([args[0], *flags], word, folder)
    elif kind == "script":
        yield _file(word, folder)
    else:
        problem = "it ends the arguments, and Python expects a word behind it"
        yield {"role": "the option", "program": word, "path": None, "problem": problem}


def _file(word: str, folder: str) -> Facts:
    """Return whether the script ``word`` is there; a folder runs by the module in it."""
    path = os.path.join(folder, word)
    lacking = ""
    if not os.path.exists(path):
        lacking = "there is no such file"
    elif os.path.isdir(path) and not _holds_main(path):
        lacking = "it is a folder without __main__.py"
    return {"role": "the script", "program": word, "path": path, "problem": lacking}


def _holds_main(path: str) -> bool:
    return any(os.path.exists(os.path.join(path, "__main__" + end)) for end in (".py", ".pyc"))


FIND = """
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
name = sys.argv[1]
found = find_spec(name)
if found is not None and found.submodule_search_locations is not None:
    main = PathFinder.find_spec(name + ".__main__", found.submodule_search_locations)
    sys.exit(name + " is a package without __main__" if main is None else 0)
sys.exit(found is None)
"""
"""Looks for a module as ``python -m`` does, but runs no more of it than its parents."""


def _module(python: list[str], name: str, folder: str) -> Facts:
    """Return whether ``python`` (with its flags) finds the module ``name``, and may run it."""
    found: Facts = {"role": "the module", "program": name, "path": None, "problem": ""}
    program = find(python[0], folder)
    if program is None:
        return found
    done = subprocess.run(
        [program, *python[1:], "-B", "-c", FIND, name],
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
