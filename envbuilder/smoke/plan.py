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
from .probe.samples import MODALITIES

CHECKS = ("environment", "caches", "start", "tokens", "engine", "gpu")
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
    """The model to count with: exactly one of a known family, a local directory, or a hub name.

    ``family`` builds a tiny model with random weights inside the container, from the family's real
    processor settings. ``path`` is a directory on this host that holds a real model; it is mounted
    read-only. ``hub`` names a model in the Hugging Face cache of this host (``revision`` pins it).
    """

    family: str | None = None
    path: str | None = None
    hub: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if sum(name is not None for name in (self.family, self.path, self.hub)) != 1:
            raise UsageError(
                "a smoke model is one of family, path and hub",
                hint="for example: model: {family: qwen2_5_omni}",
            )

    def __str__(self) -> str:
        return self.family or self.path or f"{self.hub}@{self.revision or 'main'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSample:
    """A file of the user's own to count: an image, a sound or a video on this host."""

    path: Path
    modality: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the image starts: its entry point with arguments, in ``workdir``.

    ``run`` is a command to try there, which must end with 0.
    """

    args: tuple[str, ...] = ()
    workdir: str = "/"
    run: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokePlan:
    """Everything that a smoke run needs to know.

    ``prefix`` is the root of the environment (``/opt/venv``): distributions outside of it belong
    to the operating system and are never "extra". ``python`` is the interpreter inside the
    container. ``tokens`` states, per modality, how many tokens the engine reserves for one item;
    ``answers`` are those of the last good build.
    ``installed`` names the distributions as they were laid down, one after the other: where several
    wrote one path, the last one's file is there. Empty if nobody knows.
    ``start`` is what the image starts, None if there is no image.
    ``shared`` says that the environment lies on a machine whose caches are somebody else's.
    ``timeout`` (seconds) bounds the whole run, ``memory`` (bytes) the container. ``jobs``, where
    any is named, are all of the probe's jobs that run (``tokens.image``). ``sent`` are items as
    (modality, label, shape) that a server was sent, to be counted beside the checks.
    """

    expected: tuple[Expected, ...] = ()
    installed: tuple[str, ...] = ()
    prefix: str | None = None
    shared: bool = False
    python: str = "python3"
    model: ProbedModel | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[OwnSample, ...] = ()
    answers: Answers | None = None
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
        for name in (*self.tokens, *(item.modality for item in self.samples)):
            _one_of(name, MODALITIES, "modality")

    def request(self) -> dict[str, Any]:
        """Render the JSON document that the probe reads from its standard input."""
        model = self.model
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
            "installed": self.installed,
            "prefix": self.prefix,
            "shared": self.shared,
            "model": None
            if model is None
            else {
                "family": model.family,
                "path": None,
                "hub": model.hub,
                "revision": model.revision,
            },
            "samples": [
                {"path": target, "modality": item.modality, "label": item.label}
                for target, item in self.sample_mounts()
            ],
            "start": None if self.start is None else asdict(self.start),
            "gpu": self.gpu,
            "sent": self.sent,
            "timeout": self.timeout,
        }

    def sample_mounts(self) -> list[tuple[str, OwnSample]]:
        """Pair each sample with its path inside the container; no path is another's start."""
        return [
            (f"{SAMPLES_MOUNT}/{number:04d}{item.path.suffix.lower()}", item)
            for number, item in enumerate(self.samples)
        ]


SAMPLES_MOUNT = "/run/envbuilder/samples"
"""Where the user's own samples appear inside the container, by number."""
MODEL_MOUNT = "/run/envbuilder/model"
"""Where a model directory of the host appears inside the container."""


def _one_of(name: str, known: tuple[str, ...], what: str) -> None:
    if name not in known:
        raise UsageError(f"{name!r} is not a smoke {what}", hint=f"one of {', '.join(known)}")
