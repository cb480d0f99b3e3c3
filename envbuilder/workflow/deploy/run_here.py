"""Run an environment's image on this host, in the foreground: by Docker, Podman, or crun alone."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from envbuilder.engines.foundation import fetch_base
from envbuilder.model.errors import EnvbuilderError, LockError, MissingToolError, UsageError
from envbuilder.model.image import Image
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.spec_file import platforms_at
from envbuilder.model.spec_words import MACHINES, Platform
from envbuilder.resolve.context import Context
from envbuilder.runtime.docker import connect
from envbuilder.runtime.engine_images import Podman, into_docker
from envbuilder.runtime.foreground import Session, attend, command_of
from envbuilder.runtime.linked_folder import hub_repository, leading_out, mounts_at
from envbuilder.runtime.oci import find_runtime
from envbuilder.workflow.lock import current_lock
from envbuilder.workflow.make import make_as_locked

from .deployment import MODEL, Deployment, Wishes, deployment
from .engine_command import EngineName, engine_command

Engine = Literal["docker", "podman", "oci"]
ENGINES: tuple[Engine, ...] = ("docker", "podman", "oci")

_SHELL = ("-c", "command -v bash >/dev/null && exec bash; exec sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyToRun:
    """A container that is about to run: ``shown`` is its command line, for people.

    ``run`` runs it on our standard streams to its end, and returns its exit code.
    """

    shown: str
    run: Callable[[], int]


@contextmanager
def ready_to_run(
    context: Context, spec_path: Path, wishes: Wishes, *, engine: Engine | None, in_shell: bool
) -> Iterator[ReadyToRun]:
    """Bring the image of an environment to where it can run; it is built first if it is not.

    It stays there for the block's time, whoever prunes the store meanwhile.

    ``engine`` None takes the first that is here. ``in_shell`` runs a shell instead of the image's
    entry point. Raises LockError if what the lock builds is not the image that it sealed,
    UsageError for a model whose files would not be there, and MissingToolError.
    """
    _check_links(wishes.model)
    chosen = engine or first_engine(context)
    _find(context, chosen)
    lock, image = _image(context, spec_path)
    wanted = deployment(lock, wishes, image="")
    if chosen == "oci":
        with _by_oci(context, image, wanted, in_shell=in_shell) as ready:
            yield ready
    else:
        yield _by_engine(context, image, wanted, engine=chosen, in_shell=in_shell)


def _by_engine(
    context: Context,
    image: Image,
    wanted: Deployment,
    *,
    engine: EngineName,
    in_shell: bool,
) -> ReadyToRun:
    wanted = replace(wanted, image=_bring(context, image, engine, name=wanted.name))
    if in_shell:
        wanted = replace(wanted, wishes=replace(wanted.wishes, args=_SHELL))
    entrypoint = "/bin/sh" if in_shell else None
    line = engine_command(wanted, engine=engine, terminal=_on_terminal(), entrypoint=entrypoint)
    return ReadyToRun(
        shown=shlex.join(line), run=lambda: subprocess.run(line, check=False).returncode
    )


def _check_links(model: Path | None) -> None:
    lost = model and leading_out(model, hub_repository(model) or model)
    if lost:
        link, target = lost
        raise UsageError(
            f"{link} is a link to {target}, which a container does not see",
            hint=f"copy the model with what its links lead to: cp -rL {model} DIR",
        )


def first_engine(context: Context) -> Engine:
    """Return the first engine that is here; raises MissingToolError if none is."""
    for engine in ENGINES:
        try:
            _find(context, engine)
        except EnvbuilderError:
            continue
        return engine
    raise MissingToolError(
        "nothing here runs containers: no Docker Engine answers, podman and crun are not installed",
        hint="apt-get install crun, or envbuilder doctor",
    )


def _find(context: Context, engine: Engine) -> None:
    """Raise MissingToolError if ``engine`` is not here."""
    if engine == "oci":
        find_runtime(context.store)
    elif shutil.which(engine) is None:
        raise MissingToolError(f"{engine} is not installed", hint=f"apt-get install {engine}")
    elif engine == "docker":
        connect(context.store)


def _image(context: Context, spec_path: Path) -> tuple[Lock, Image]:
    locked = current_lock(context, spec_path, platform=_platform_here(spec_path))
    lock, image = make_as_locked(context, locked)
    name = lock.spec.name
    if lock.seal is None:
        context.progress.note(f"{name} was never smoked: envbuilder build {name} does")
    elif lock.seal.manifest != image.digest:
        raise LockError(
            f"the lock of {name} builds {image.digest}, not the image that it sealed",
            hint=f"envbuilder build {name} says what differs",
        )
    if isinstance(lock.base, ImageBase):  # its layers come through only now, to be run
        fetch_base(context, lock)
    return lock, image


def _platform_here(spec_path: Path) -> Platform | None:
    """Return this machine's of a spec's platforms; of one for none such, the first."""
    named = platforms_at(spec_path)
    here = (each for each in named if each and MACHINES[each] == platform.machine())
    return next(here, named[0])


def _bring(context: Context, image: Image, engine: Engine, *, name: str) -> str:
    if engine == "docker":
        return into_docker(image, connect(context.store), name=name, progress=context.progress)
    return Podman(store=context.store).bring(image, name=name, progress=context.progress)


@contextmanager
def _by_oci(
    context: Context, image: Image, wanted: Deployment, *, in_shell: bool
) -> Iterator[ReadyToRun]:
    wishes = wanted.wishes
    if wishes.model_image is not None:
        raise UsageError(
            "a model's image is for Docker and Podman", hint="unpack it, and use --model DIR"
        )
    args = ("/bin/sh", *_SHELL) if in_shell else command_of(image.settings, wishes.args)
    session = Session(
        args=args,
        env={**wishes.env, **_terminal_name()},
        mounts=() if wishes.model is None else mounts_at(wishes.model, MODEL),
        gpus=wanted.gpus > 0,
        terminal=_on_terminal(),
        shm=wanted.shm,
    )
    runtime = find_runtime(context.store)
    with runtime.prepared(image, progress=context.progress) as prepared:
        shown = f"{runtime.name} run, in the network of this host: {shlex.join(args)}"
        yield ReadyToRun(shown=shown, run=lambda: attend(prepared, session))


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _terminal_name() -> dict[str, str]:
    return {"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}
