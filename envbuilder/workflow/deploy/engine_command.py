"""The command line by which Docker or Podman runs a deployment on this host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from envbuilder.runtime.linked_folder import mounts_at

from .deployment import MODEL, Deployment

EngineName = Literal["docker", "podman"]


def engine_command(
    wanted: Deployment, *, engine: EngineName, terminal: bool, entrypoint: str | None = None
) -> list[str]:
    """Return the whole command line; ``entrypoint`` takes the place of the image's own.

    The container is removed once it ends. Docker brings an init of its own, which reaps what
    children leave; Podman's is a package that may not be there.
    """
    line = [engine, "run", "--rm", "--interactive", *(["--tty"] if terminal else [])]
    line += ["--init"] if engine == "docker" else []
    line += [f"--shm-size={wanted.shm}", *_gpus(wanted, engine), *_mounts(wanted)]
    for published in wanted.wishes.published:
        line += ["--publish", published]
    for name, value in wanted.wishes.env.items():
        line += ["--env", f"{name}={value}"]
    if entrypoint is not None:
        line += ["--entrypoint", entrypoint]
    return [*line, wanted.image, *wanted.wishes.args]


def _gpus(wanted: Deployment, engine: EngineName) -> Iterator[str]:
    """Docker counts GPUs; Podman names them, as the Container Device Interface does."""
    if engine == "docker" and wanted.gpus:
        yield f"--gpus={wanted.gpus}"
    elif engine == "podman":
        yield from (f"--device=nvidia.com/gpu={number}" for number in range(wanted.gpus))


def _mounts(wanted: Deployment) -> Iterator[str]:
    if wanted.wishes.model is not None:
        for mount in mounts_at(wanted.wishes.model, MODEL):
            yield f"--mount=type=bind,source={mount.source},target={mount.target},readonly"
    if wanted.wishes.model_image is not None:
        yield f"--mount=type=image,source={wanted.wishes.model_image},target={MODEL}"
