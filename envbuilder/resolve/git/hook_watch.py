"""Notes what a source looks at beyond itself while it is asked; a part of ``hook_program.py``.

An answer that was given without looking at this machine is the same on every machine. Python tells
of files that are opened, folders that are listed, libraries that are loaded and programs that are
started by audit events. Looking without opening (``os.stat``, ``os.access`` and ``os.readlink``, on
which ``os.path`` and ``shutil.which`` stand) has none, so these are wrapped, before pathlib or
anything else keeps them. What compiled code does on its own is not seen. Standard library only,
Python 3.9 or later.
"""

import os
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

_MOST = 200  # things that are noted, and characters of each
_HARMLESS = {"git", "hg"}  # there is no repository in a checkout: they say the same everywhere
_PLACES = ("/build", "/tmp", "/dev", "/proc", "/sys", "/usr/share/zoneinfo")  # noqa: S108
_LOOKING = ("stat", "lstat", "access", "readlink")
_CAPABILITIES = (
    os.supports_dir_fd,
    os.supports_effective_ids,
    os.supports_fd,
    os.supports_follow_symlinks,
)
_SHELLS = {"sh", "bash", "dash"}


class Watch:
    """What was looked at so far: the names of programs, the paths of the rest."""

    def __init__(self) -> None:
        self.seen: "set[str]" = set()
        self._own = (*_PLACES, *(os.path.normpath(path) for path in _python_files()))
        self._path = set(os.environ.get("PATH", "").split(":"))
        self._events: "dict[str, Callable[..., None]]" = {
            "open": self._inside,
            "os.listdir": self._inside,
            "os.scandir": self._inside,
            "ctypes.dlopen": self._library,
            "subprocess.Popen": self._started,
            "os.exec": self._started,
            "os.posix_spawn": self._started,
            "os.system": self._command,
            "os.fork": self._forked,
            "os.forkpty": self._forked,
        }

    def begin(self) -> None:
        for name in _LOOKING:
            _replace(name, self._looking)
        sys.addaudithook(self._event)

    def _event(self, name: str, given: "tuple[Any, ...]") -> None:
        if name in self._events:
            self._events[name](*given)

    def _inside(self, place: object = ".", *_: object) -> None:
        path = _absolute(place)
        if path is not None and not self._is_own(path):
            self._note(path)

    def _looking(self, place: object, *_: object, dir_fd: object = None, **__: object) -> None:
        """Look at a place; the folders above our own are nothing to learn from."""
        path = _absolute(place) if dir_fd is None else None
        if path is not None and not self._is_own(path) and not self._is_above(path):
            self._note(path)

    def _library(self, name: object, *_: object) -> None:
        if isinstance(name, str) and "/" not in name:
            self._note(name)
        else:
            self._inside(name)

    def _started(self, program: object, arguments: object = (), *_: object) -> None:
        name = os.path.basename(os.fsdecode(program)) if isinstance(program, (str, bytes)) else "?"
        words = [str(each) for each in arguments] if isinstance(arguments, (list, tuple)) else []
        if name in _SHELLS and words[1:2] == ["-c"]:
            self._note(
                " ".join(words[2:3])
            )  # what the shell was asked for tells more than its name
        else:
            self._note(name)

    def _command(self, command: object) -> None:
        self._note(os.fsdecode(command) if isinstance(command, (str, bytes)) else "a command")

    def _forked(self) -> None:
        self._note("a process of its own")

    def _is_own(self, path: str) -> bool:
        return any(path == own or path.startswith(f"{own}/") for own in self._own)

    def _is_above(self, path: str) -> bool:
        return path == "/" or any(own.startswith(f"{path}/") for own in self._own)

    def _note(self, what: str) -> None:
        folder, _, name = what.rpartition("/")
        found = name if folder in self._path else what
        if found not in _HARMLESS and len(self.seen) < _MOST:
            self.seen.add(found[:_MOST])


def _python_files() -> "list[str]":
    """List what the interpreter itself consists of and looks at, wherever it is installed."""
    named = {sys.executable, getattr(sys, "_base_executable", sys.executable)}
    executables = named | set(map(os.path.realpath, named))
    return [
        sys.prefix,
        *(entry for entry in sys.path if entry),
        *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "include")),
        os.path.dirname(sysconfig.get_config_h_filename()),
        os.path.join(sys.base_prefix, "share", "locale"),
        *executables,
        *(f"{os.path.dirname(each)}/Modules" for each in executables),  # if it were a build tree
    ]


def _absolute(place: object) -> "str | None":
    """Name what ``place`` is; None for open files, which were opened by name before."""
    if not isinstance(place, (str, bytes, os.PathLike)):
        return None
    return os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(place)))


def _replace(name: str, before: "Callable[..., None]") -> None:
    """Let ``before`` know of each call of a function of ``os``, which can what it could."""
    original = getattr(os, name)

    def told(*args: object, **named: object) -> object:
        before(*args, **named)
        return original(*args, **named)

    for functions in _CAPABILITIES:
        if original in functions:
            functions.add(told)
    setattr(os, name, told)
