"""Run ``envbuilder ARGS`` in a process of its own, which need not import the program anew.

A server, one for each process that runs tests, imports everything once and forks for every command.
The fork has the arguments, folder, variables, umask and streams of its command, and ends as any
Python does. If a variable that is read while Python starts or a library is imported differs from
what this process began with, the command gets a new interpreter. So do tests that are about the
process itself: they start ``python -m envbuilder`` as they like.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import re
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

COMMAND = [sys.executable, "-m", "envbuilder"]
_READ_AT_START = ("PYTHON", "_PYTHON", "LC_", "LANG", "LD_", "GIT_PYTHON_", "PATH", "TZ", "HOME")
_ELSEWHERE = ("envbuilder.smoke.probe", "envbuilder.resolve.git.hook_", "envbuilder.__main__")
"""Modules that no command imports: they run in containers and builds."""
_NOTHING = Path(os.devnull)
_OURS = dict(os.environ)
_ONE_AT_A_TIME = threading.Lock()


def envbuilder(*arguments, cwd=None, code=0, timeout=900, **environ) -> subprocess.CompletedProcess:
    """Run ``envbuilder ARGUMENTS`` with more variables; assert its exit code, unless it is None.

    ``timeout`` is in seconds; TimeoutExpired is raised after it, and the process is killed.
    """
    words = [os.fspath(each) for each in arguments]
    variables = {**os.environ, **environ}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = _forked if _at_start(variables) == _at_start(_OURS) else _new
        status = start(words, str(Path(cwd or ".").absolute()), variables, timeout, (out, err))
        out.seek(0)
        err.seek(0)
        done = subprocess.CompletedProcess([*COMMAND, *words], status, out.read(), err.read())
    assert code in {None, status}, f"{words}: {status}\n{done.stdout}\n{done.stderr}"
    return done


def _at_start(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(_READ_AT_START)}


def _new(words, cwd, variables, timeout, streams: tuple[IO[str], ...]) -> int:
    out, err = streams
    return subprocess.run(
        [*COMMAND, *words], cwd=cwd, env=variables, timeout=timeout, check=False,
        stdin=subprocess.DEVNULL, stdout=out, stderr=err,
    ).returncode  # fmt: skip


def _forked(words, cwd, variables, timeout, streams: tuple[IO[str], ...]) -> int:
    """Have the server start the command; return its exit code, or less than 0 for a signal."""
    answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with answer, tempfile.TemporaryFile("w+") as request, _NOTHING.open() as nothing:
        json.dump({"words": words, "cwd": cwd, "variables": variables, "umask": _umask()}, request)
        request.seek(0)
        files = (theirs, request, nothing, *streams)
        with theirs, _ONE_AT_A_TIME:
            socket.send_fds(_server(), [b"!"], [each.fileno() for each in files])
        process = _told(answer)
        answer.settimeout(timeout)
        try:
            return _told(answer)
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired([*COMMAND, *words], timeout) from None


def _umask() -> int:
    """Read it without setting it, as other threads may be creating files."""
    (mask,) = re.findall(r"(?m)^Umask:\s*(\d+)$", Path("/proc/self/status").read_text())
    return int(mask, 8)


def _told(answer: socket.socket) -> int:
    number = answer.recv(64)
    assert number, "the server of tests/command.py has ended"
    return int(number)


@cache
def _server() -> socket.socket:
    """Start the server, which ends with this process; return the way to it."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.command", str(theirs.fileno())],
        cwd=Path(__file__).parents[1], env=_OURS, pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    atexit.register(_end, ours, process)
    return ours


def _end(door: socket.socket, server: subprocess.Popen) -> None:
    door.close()
    server.wait()


def _serve(door: socket.socket) -> list[int]:
    """Fork for each request; return its files in the process that is to be the command."""
    while True:
        message, files, *_ = socket.recv_fds(door, 1, 5)
        if not message:
            os._exit(0)  # whoever asked has ended
        if not os.fork():
            door.close()
            answer, *rest = files
            _watch(answer)
            return rest
        for each in files:
            os.close(each)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watch(answer: int) -> None:
    """Fork once more, and return there; here, say which process that is, and how it ended."""
    if process := os.fork():
        os.write(answer, b"%d" % process)
        _, status = os.waitpid(process, 0)
        os.write(answer, b"%d" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(answer)


def _be_the_command(request: int, *streams: int) -> None:
    with open(request) as file:
        asked = json.load(file)
    for number, each in enumerate(streams):
        os.dup2(each, number)
        os.close(each)
    os.umask(asked["umask"])
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    sys.path[0] = str(Path.cwd())
    sys.argv[1:] = asked["words"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        runpy.run_module("envbuilder", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int):
            _leave(end.code)
        raise


def _leave(code: int) -> None:
    """End as Python does, but for freeing every object, which costs more than most commands."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _import_everything() -> None:
    for module in pkgutil.walk_packages(import_module("envbuilder").__path__, "envbuilder."):
        if not module.name.startswith(_ELSEWHERE):
            import_module(module.name)
    gc.collect()
    gc.freeze()  # the forks' own collections do not look at, and so copy, what all of them share
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a fork would have one of these threads"


if __name__ == "__main__":
    _import_everything()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands
    _be_the_command(*_serve(socket.socket(fileno=int(sys.argv[1]))))
