"""Compile modules in a container, by the Python that will load them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from envbuilder.model.errors import BuildError, SmokeError
from envbuilder.model.image import Layer, compose
from envbuilder.model.owner import give_all
from envbuilder.resolve.context import Context
from envbuilder.resolve.debian import unchecked_pyc
from envbuilder.runtime import Command, Mount, choose

_PROGRAM, _SOURCES = "/build/unchecked_pyc.py", "/build/sources"
_TIMEOUT = 3600  # seconds; all of a large environment takes two minutes of one core
_SHOWN = 20  # lines


def compile_modules(
    context: Context, below: Sequence[Layer], *, platform: str, interpreter: str, folder: Path
) -> None:
    """Compile every module in ``folder``, each into ``__pycache__`` beside it.

    Each entry of ``folder`` stands for the root of the image: what lies further down is the path
    that the bytecode names. ``interpreter`` is that of the layers ``below``, which are in the
    store. No variable of the image, and no file of this machine, is seen there. Raises BuildError
    if it fails, MissingToolError if nothing can run it.
    """
    image = compose(tuple(below), platform=platform)
    context.store.add(image.config)
    context.store.add(image.manifest)
    depth = str(len(Path(_SOURCES).parts))
    command = Command(
        args=(interpreter, "-s", "-S", "-B", _PROGRAM, "--below", _SOURCES, depth),
        env={"PYTHONHASHSEED": "0"},  # not -I, which ignores it
        mounts=(
            Mount(source=Path(unchecked_pyc.__file__), target=_PROGRAM),
            Mount(source=folder, target=_SOURCES, read_only=False),
        ),
        timeout=_TIMEOUT,
        user=f"{os.geteuid()}:{os.getegid()}",
        workdir="/",
    )
    try:
        done = choose("auto", context.store).run(image, command, progress=context.progress)
    except SmokeError as error:
        raise BuildError(
            f"no Python runs there that compiles the packages: {error.message}",
            hint="bytecode: false does without",
        ) from error
    finally:
        give_all(folder)
    if done.exit_code:
        said = done.stderr.decode(errors="replace").splitlines()[-_SHOWN:]
        raise BuildError(
            "\n".join(["the packages' bytecode could not be compiled:", *said]),
            hint="bytecode: false does without",
        )
