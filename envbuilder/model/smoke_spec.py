"""What a spec says of its smoke test: the models, samples, and how the image starts."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .spec_words import (
    Frozen,
    GpuType,
    GpuUse,
    Line,
    Modality,
)

MOST_SECONDS = 86400
MOST_MEMORY = 1 << 30  # MiB; in bytes still a number of 64 bits
MOST_TOKENS = (1 << 31) - 1


class Model(Frozen):
    """What the smoke test runs: a family (tiny random weights), a directory, or a hub model."""

    family: Line | None = None
    path: Line | None = None
    hub: Line | None = None
    revision: Line | None = None


class ServedModel(Frozen):
    """One of the models that are served, and what the engine reserves per item (``tokens``).

    ``config`` is a folder of a real model's configuration and processor files, without weights.
    """

    family: Line | None = None
    path: Line | None = None
    config: Line | None = None
    hub: Line | None = None
    revision: Line | None = None
    tokens: dict[Modality, Annotated[int, Meta(ge=1, le=MOST_TOKENS)]] = {}

    @property
    def name(self) -> str:
        """What reports call it: the family, the folder, or the name on the hub."""
        found = self.family or self.path or self.config or self.hub or ""
        return f"{found}@{self.revision}" if self.revision else found


class SampleFile(Frozen):
    """An item of the user's own to count: a file beside the spec, and what it is."""

    path: Line
    modality: Modality | None = None


class StartCommand(Frozen):
    """What to try as the image starts: with its env, as its user, in its workdir.

    ``run`` is a command that must end with 0. ``serve`` starts the image's own entry point with the
    first model: true gives it the model's folder, a list these arguments, with ``{model}`` for the
    folder. At ``port`` it must answer ``ready`` with 200 ``within`` seconds.
    """

    run: tuple[Line, ...] = ()
    serve: bool | tuple[Line, ...] = False
    ready: Annotated[str, Meta(pattern="^/[!-~]*$")] = "/health"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    within: Annotated[int, Meta(ge=1, le=86400, description="seconds")] = 300

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the entry point gets to serve; nothing if it shall not."""
        if isinstance(self.serve, bool):
            return ("{model}",) if self.serve else ()
        return self.serve


class Smoke(Frozen):
    """What the smoke test expects; ``tokens`` is what the engine reserves per item.

    ``models`` are all that are served; ``model`` with ``tokens`` is the short form for one.
    ``samples`` are items of the user's own: paths, from the folder of the spec. ``gpus`` are the
    types of GPUs that a cluster smokes it on, on each of them.
    """

    model: Model | None = None
    models: tuple[ServedModel, ...] = ()
    tokens: dict[Modality, Annotated[int, Meta(ge=1, le=MOST_TOKENS)]] = {}
    samples: tuple[Line | SampleFile, ...] = ()
    start: StartCommand = StartCommand()
    gpu: GpuUse = "auto"
    gpus: tuple[GpuType, ...] = ()
    timeout: Annotated[int, Meta(ge=1, le=MOST_SECONDS, description="seconds")] = 600
    memory: Annotated[int, Meta(ge=256, le=MOST_MEMORY, description="MiB")] = 8192

    @property
    def served(self) -> tuple[ServedModel, ...]:
        """All models that are served, however they are written."""
        one = self.model
        if one is None:
            return self.models
        where = {"family": one.family, "path": one.path, "hub": one.hub, "revision": one.revision}
        return (ServedModel(**where, tokens=self.tokens),)
