"""Run an image in the foreground with crun or runc: this terminal, the host's network, no daemon.

What the command writes into its root file system lies in memory and is gone with it, at most
512 MiB; ports that it opens are the host's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .command import KILLED, Command, Mount, check_sources
from .limits import most_memory, process_limits
from .oci import CAGE, PreparedTrees, check_report, memory_file, namespaces

_OF_THE_HOST = ("/etc/resolv.conf", "/etc/hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What runs: ``args`` are the whole command; ``env`` adds to the image's.

    ``shm`` (bytes) bounds each file system in memory.
    """

    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    gpus: bool = False
    terminal: bool = False
    shm: int | None = None


def attend(prepared: PreparedTrees, session: Session) -> int:
    """Run ``session`` in an image to its end, and return its exit code.

    It has our standard streams. Whatever ends us ends it, too. Raises MissingToolError if the
    host does not allow it, SmokeError if the image cannot start the command.
    """
    hosts = tuple(
        Mount(source=path.resolve(), target=str(path))
        for path in map(Path, _OF_THE_HOST)
        if path.is_file()
    )
    command = Command(
        args=session.args,
        env=session.env,
        mounts=(*hosts, *session.mounts),
        gpus=session.gpus,
    )
    check_sources(command)
    limits = process_limits(data=None, processes=None)
    config = prepared.config(command, scratch=session.shm or most_memory(), limits=limits)
    config["root"]["readonly"] = False
    config["process"]["terminal"] = session.terminal
    report = _caged(prepared.job(config, network="host"))
    check_report(report, session.args[0])
    return int(report.get("exit_code", KILLED))


def command_of(settings: Mapping[str, Any], args: tuple[str, ...]) -> tuple[str, ...]:
    """Return what an image with these ``settings`` runs; ``args`` take the place of its Cmd."""
    given = args or tuple(settings.get("Cmd") or ())
    return (*(settings.get("Entrypoint") or ()), *given)


def _caged(job: dict[str, Any]) -> dict[str, Any]:
    """Run ``job`` in a cage that shares this terminal, and return its report."""
    with memory_file() as job_fd, memory_file() as report_fd:
        os.pwrite(job_fd, json.dumps(job).encode(), 0)
        arguments = [sys.executable, "-I", "-S", str(CAGE), str(job_fd), str(report_fd)]
        line = [*namespaces("host"), *arguments]
        with subprocess.Popen(line, pass_fds=(job_fd, report_fd)) as process:
            try:
                process.wait()
            finally:
                process.kill()  # where we are interrupted; the cage falls with its first process
        return dict(json.loads(os.pread(report_fd, os.fstat(report_fd).st_size, 0) or b"{}"))
