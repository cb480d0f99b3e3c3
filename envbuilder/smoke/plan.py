"""What a smoke run shall find out: a plain value, built from a spec and its lock.

Nothing here knows of specs, locks or containers, so a plan can be made for a lock's image, for an
environment on this machine, or in a test, in the same few lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from envbuilder.model.errors import UsageError

from .answers import Answers
from .media import ITEMS
from .probe.samples import MODALITIES

CHECKS = ("environment", "caches", "start", "architecture", "tokens", "engine", "gpu")
"""Every check group, in the order in which they run and are reported."""

Gpu = Literal["auto", "required", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One distribution that the lock promises; ``commit`` if it comes from git."""

    name: str
    version: str
    commit: str | None = None
    requested: bool = False
    """The spec itself names it, so its import is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedModel:
    """A model to count with: exactly one of a family, a directory (or its config), or a hub name.

    ``family`` builds a tiny model with random weights inside the container, from the family's real
    processor settings. ``path`` is a directory on this host that holds a real model; it is mounted
    read-only. ``config`` is one of which only the configuration and the processor's files count.
    ``hub`` names a model in the Hugging Face cache of this host (``revision`` pins it).

    ``tokens`` states, per modality, how many tokens the engine reserves for one item; ``answers``
    are those of the last good build. ``label`` is what reports call it.
    """

    family: str | None = None
    path: str | None = None
    config: str | None = None
    hub: str | None = None
    revision: str | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)
    answers: Answers | None = None
    label: str = ""

    def __post_init__(self) -> None:
        given = (self.family, self.path, self.config, self.hub)
        if sum(name is not None for name in given) != 1:
            raise UsageError(
                "a smoke model is one of family, path, config and hub",
                hint="for example: model: {family: qwen2_5_omni}",
            )
        for name in self.tokens:
            _one_of(name, MODALITIES, "modality")

    def __str__(self) -> str:
        return self.label or self.where

    @property
    def where(self) -> str:
        """The family, the directory on this host, or the name on the hub."""
        return self.family or self.path or self.config or f"{self.hub}@{self.revision or 'main'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSample:
    """A file of the user's own to count: an image, a sound or a video on this host."""

    path: Path
    modality: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the image starts: its entry point with arguments, in ``workdir``.

    ``run`` is a command to try there, which must end with 0. ``serve`` are the arguments that the
    entry point gets to serve the first model, in place of the image's own (``{model}`` stands for
    its folder); it must answer ``ready`` at ``port`` with 200 ``within`` seconds.
    """

    args: tuple[str, ...] = ()
    workdir: str = "/"
    run: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    ready: str = "/health"
    port: int = 8000
    within: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokePlan:
    """Everything that a smoke run needs to know.

    ``prefix`` is the root of the environment (``/opt/venv``): distributions outside of it belong
    to the operating system and are never "extra". ``python`` is the interpreter inside the
    container. ``models`` are all that are served, with different names.
    ``start`` is what the image starts, None if there is no image.
    ``shared`` says that the environment lies on a machine whose caches are somebody else's.
    ``timeout`` (seconds) bounds the whole run, ``memory`` (bytes) the container. ``jobs``, where
    any is named, are all of the probe's jobs that run (``tokens.image``). ``sent`` are items as
    (modality, label, shape) that a server was sent, to be counted beside the checks.
    """

    expected: tuple[Expected, ...] = ()
    prefix: str | None = None
    shared: bool = False
    python: str = "python3"
    models: tuple[ProbedModel, ...] = ()
    samples: tuple[OwnSample, ...] = ()
    start: Start | None = None
    gpu: Gpu = "auto"
    checks: tuple[str, ...] = CHECKS
    jobs: tuple[str, ...] = ()
    timeout: float = 600.0
    memory: int | None = None
    sent: tuple[tuple[str, str, tuple[int, ...]], ...] = ()

    def __post_init__(self) -> None:
        for name in self.checks:
            _one_of(name, CHECKS, "check")
        for item in self.samples:
            _one_of(item.modality, MODALITIES, "modality")

    def request(self) -> dict[str, Any]:
        """Render the JSON document that the probe reads from its standard input."""
        checks = set(self.checks) - ({"gpu"} if self.gpu == "never" else set())
        return {
            "version": 1,
            "checks": [name for name in CHECKS if name in checks],
            "jobs": self.jobs,
            "expected": [
                {
                    "name": item.name,
                    "version": item.version,
                    "commit": item.commit,
                    "requested": item.requested,
                }
                for item in self.expected
            ],
            "prefix": self.prefix,
            "shared": self.shared,
            "models": [
                {"family": model.family, "path": None, "bare": model.config is not None}
                for model in self.models
            ],
            "samples": [
                {"path": target, "modality": item.modality, "label": item.label}
                for target, item in self.sample_mounts()
            ],
            "start": None if self.start is None else asdict(self.start),
            "parts": self._parts(),
            "gpu": self.gpu,
            "sent": self.sent,
            "timeout": self.timeout,
        }

    def _parts(self) -> list[dict[str, Any]]:
        """Return a small item of each modality as a chat request carries it, if one is sent."""
        sent = [item for item in ITEMS if item.role == "small"]
        return [
            {
                "modality": item.modality,
                "label": item.label,
                "shape": item.shape,
                "part": item.part(),
            }
            for item in sent
            if self.start is not None and self.start.serve
        ]

    def sample_mounts(self) -> list[tuple[str, OwnSample]]:
        """Pair each sample with its path inside the container; no path is another's start."""
        return [
            (f"{SAMPLES_MOUNT}/{number:04d}{item.path.suffix.lower()}", item)
            for number, item in enumerate(self.samples)
        ]


SAMPLES_MOUNT = "/run/envbuilder/samples"
"""Where the user's own samples appear inside the container, by number."""
MODEL_MOUNT = "/run/envbuilder/model"
"""Where model directories of the host appear inside the container, by number."""


def _one_of(name: str, known: tuple[str, ...], what: str) -> None:
    if name not in known:
        raise UsageError(f"{name!r} is not a smoke {what}", hint=f"one of {', '.join(known)}")
