"""One run of ``docker buildx build`` over a rendered folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TextIO

from envbuilder.engines.dockerfile_quoting import csv_row
from envbuilder.layers.tar import MTIME
from envbuilder.model.errors import BuildError, DiskFullError, EnvbuilderError
from envbuilder.model.owner import give, make_folder
from envbuilder.resolve.context import Context

from .builder import Builder
from .folders import lent
from .secrets import Secrets
from .status import Watch

_PLAIN_FILES = re.compile(r"wheels|(wheel|files)-.+|pins")
"""Targets that are no image."""
_GRACE = 20  # seconds that buildx gets to take its build back
_BLINK = 0.1  # seconds between two looks at a build that may be stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildxRun:
    """What to build: ``target`` of the Dockerfile in ``folder``, for an OCI ``platform``.

    ``contexts`` replaces stages by what already exists (``{"base": "oci-layout://…"}``);
    ``fresh`` uses no cache, those of compilers included; ``log`` is a
    file for all that its steps print.
    """

    folder: Path
    target: str
    platform: str
    contexts: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    log: Path | None = None

    def arguments(self, output: str) -> list[str]:
        """Return buildx's arguments but for builder and secrets."""
        named = [f"--build-context={name}={place}" for name, place in sorted(self.contexts.items())]
        return [
            "--progress=rawjson",
            "--provenance=false",
            f"--target={self.target}",
            f"--platform={self.platform}",
            f"--build-arg=SOURCE_DATE_EPOCH={MTIME}",
            f"--output={output}",
            *named,
            *(["--no-cache", "--build-arg=RECOMPILE=yes"] if self.fresh else []),
            str(self.folder),
        ]


def build(
    context: Context, wanted: BuildxRun, target: Path, *, builder: Builder, secrets: Secrets
) -> None:
    """Build into the new folder ``target``: an OCI layout, or the files of targets that are none.

    The folder appears whole or not at all; the context's ``stop`` ends the build.
    Raises BuildError with the failing step, its last lines and the Dockerfile's line,
    ResolutionError if the base is gone, NetworkError, and MissingToolError for a platform that the
    builder does not have.
    """
    builder.check(wanted.platform)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        made = Path(name) / "made"
        _run(context, wanted, made, builder=builder, secrets=secrets)
        if target.exists():
            shutil.rmtree(target)
        made.replace(target)


def _run(
    context: Context, wanted: BuildxRun, made: Path, *, builder: Builder, secrets: Secrets
) -> None:
    command = [*builder.command, *secrets.flags, *wanted.arguments(_output(wanted, made))]
    with (
        _log(wanted.log) as log,
        lent(secrets.find_links if builder.here else ()) as places,
        ThreadPoolExecutor(1) as beside,
        _running(command, secrets.environ(places)) as process,
    ):
        beside.submit(_heed, context.stop, process)
        watch = Watch(context.progress, secrets.blot, log)
        watch.follow(process.stdout or ())
        code = process.wait()
    if context.stop.is_set():
        raise BuildError("docker buildx build was stopped")
    if code:
        raise _ours(watch.failure(), made)
    if not made.exists():
        raise BuildError("docker buildx build succeeded, but wrote nothing")


@contextmanager
def _log(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    make_folder(path.parent)
    with path.open("w", encoding="utf-8") as log:
        give(path, fd=log.fileno())
        yield log


def _output(wanted: BuildxRun, made: Path) -> str:
    if _PLAIN_FILES.fullmatch(wanted.target):
        return csv_row("type=local", f"dest={made}")
    # rewrite-timestamp does not go together with push, load or unpack: an OCI layout it is.
    options = ("tar=false", "rewrite-timestamp=true", "oci-mediatypes=true")
    return csv_row("type=oci", f"dest={made}", *options)


@contextmanager
def _running(command: list[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run ``command``, its two outputs as one stream; interrupted, it takes its build back.

    So it does where we are killed with -9.
    """
    bound = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    with subprocess.Popen(
        [*bound, *command],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            yield process
        except BaseException:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_GRACE)
            process.kill()
            raise


def _ours(failure: EnvbuilderError, made: Path) -> EnvbuilderError:
    """Tell our own disk, on which ``made`` lies, from the builder's, of which BuildKit thinks."""
    if isinstance(failure, DiskFullError) and str(made) in failure.message:
        return DiskFullError(
            failure.message, hint="free some space, or set ENVBUILDER_CACHE to another disk"
        )
    return failure


def _heed(stop: Event, process: subprocess.Popen[str]) -> None:
    """Interrupt ``process`` once ``stop`` is set; somebody else reads what it says."""
    while process.poll() is None:
        if stop.wait(_BLINK):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            process.kill()
