"""Which wheels share a layer, and in which order the layers lie: a pure function of the lock.

Runtimes mount about 125 layers at most, and a change in a low layer makes them unpack all above
it again. So the parts that change least lie lowest: base and system, then heavy wheels, each its
own layer, then the small ones in a fixed number of buckets by name (one bump touches one bucket),
then what the spec names itself, then what is built from sources, then bytecode of all these, then
the user's own files, and last one small layer with the environment's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from .bytecode_plan import BytecodeGroup, bytecode_groups, most_groups, own_groups
from .image import canonical_json
from .lock import DebianBase, GitSource, ImageBase, Lock, Source, Wheel
from .system_plan import system_plan

LAYOUT_VERSION = 2
"""Part of every layer's key and of the image's label; raise it whenever a layer's bytes change."""

HEAVY = 8 << 20
"""A wheel of this many bytes gets a layer of its own."""
BUCKETS = 8
MOST_LAYERS = 110
STANDALONE = "/opt/python"
"""Where a Python lies that is no package of the base."""
PREFIX = "/opt/venv"
"""Where the Python environment lies in every image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelLayer:
    """Wheels that become one layer, sorted by name.

    ``bucket`` counts the layers of small wheels from 1; a wheel with a layer of its own has none.
    """

    wheels: tuple[Wheel, ...]
    bucket: int | None = None

    @property
    def title(self) -> str:
        """What people call the layer."""
        if self.bucket is not None:
            return f"packages {self.bucket}/{BUCKETS}"
        return f"{self.wheels[0].name} {self.wheels[0].version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The Python layers of an image, lowest first, and the interpreter that they are for.

    ``bytecode`` lies above them; there is none if the spec asks for none.
    """

    python: str
    interpreter: str
    layers: tuple[WheelLayer, ...]
    bytecode: tuple[BytecodeGroup, ...] = ()

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """All wheels as they are laid down: of two that write one path, the later one wins."""
        return tuple(wheel for group in self.layers for wheel in group.wheels)


def plan(lock: Lock) -> Plan:
    """Plan the layers of ``lock``; the same lock always gives the same plan.

    A source takes part once its wheel is known.
    """
    requested = lock.spec.requested
    ordinary = [wheel for wheel in lock.wheels if wheel.name not in requested]
    named = [wheel for wheel in lock.wheels if wheel.name in requested]
    built = [source.wheel for source in lock.built if source.wheel is not None]
    below = _base_layers(lock.base) + len(lock.spec.steps.before_python)
    asked = frozenset([*named, *built])
    own = own_groups(asked)
    room = MOST_LAYERS - below - BUCKETS - 2 - len(lock.spec.files)
    if lock.spec.bytecode:
        room -= most_groups(own, BUCKETS)
    alone = _alone(ordinary, named, built, room)
    small = [wheel for wheel in (*ordinary, *named, *built) if wheel not in alone]
    layers = (
        *(_single(wheel) for wheel in sorted(ordinary) if wheel in alone),
        *_buckets(small),
        *(_single(wheel) for wheel in sorted(named) if wheel in alone),
        *(_single(wheel) for wheel in sorted(built) if wheel in alone),
    )
    shown = [(layer.wheels, layer.bucket) for layer in layers] if lock.spec.bytecode else []
    return Plan(
        python=lock.spec.minor,
        interpreter=interpreter(lock),
        layers=layers,
        bytecode=bytecode_groups(shown, own=own, asked=asked),
    )


def interpreter(lock: Lock) -> str:
    """Name the interpreter in the base that the environment stands on, as an absolute path."""
    program, base = f"python{lock.spec.minor}", lock.base
    if isinstance(base, ImageBase):
        found = base.interpreter
    else:
        found = None if base.standalone is None else f"{STANDALONE}/bin/{program}"
    return lock.spec.base.python or found or f"/usr/bin/{program}"


def is_cuda(lock: Lock) -> bool:
    """Return whether the environment holds CUDA wheels, and so wants the GPU's driver mounted."""
    return any(wheel.name.startswith("nvidia-cu") for wheel in lock.wheels)


def source_for(lock: Lock, wheel: Wheel) -> Source | None:
    """Find the source that ``wheel`` was built from, if it was."""
    return next((source for source in lock.built if source.wheel == wheel), None)


def is_requested(lock: Lock, wheel: Wheel) -> bool:
    """Return whether the spec itself names the wheel's distribution."""
    return canonicalize_name(wheel.name) in lock.spec.requested


def direct_url(source: Source | None) -> bytes | None:
    """Return the ``direct_url.json`` of a git source (PEP 610); None for what is none.

    Where an archive lay is known to the spec, and nothing that could be asked for again.
    """
    if not isinstance(source, GitSource):
        return None
    url: dict[str, Any] = {
        "url": source.repository,
        "vcs_info": {
            "vcs": "git",
            "commit_id": source.commit,
            "requested_revision": source.requested,
        },
    }
    if source.subdirectory is not None:
        url["subdirectory"] = source.subdirectory
    return canonical_json(url)


def _alone(
    ordinary: list[Wheel], named: list[Wheel], built: list[Wheel], room: int
) -> frozenset[Wheel]:
    """Choose who gets a layer: sources and named wheels first, then the heaviest."""
    heavy = sorted(
        (wheel for wheel in ordinary if wheel.size >= HEAVY), key=lambda each: (-each.size, each)
    )
    return frozenset([*sorted(built), *sorted(named), *heavy][: max(0, room)])


def _buckets(small: list[Wheel]) -> list[WheelLayer]:
    buckets: list[list[Wheel]] = [[] for _ in range(BUCKETS)]
    for wheel in sorted(small):
        buckets[hashlib.sha256(wheel.name.encode()).digest()[0] % BUCKETS].append(wheel)
    return [
        WheelLayer(bucket=number, wheels=tuple(wheels))
        for number, wheels in enumerate(buckets, 1)
        if wheels
    ]


def _single(wheel: Wheel) -> WheelLayer:
    return WheelLayer(wheels=(wheel,))


def _base_layers(base: DebianBase | ImageBase) -> int:
    if isinstance(base, ImageBase):
        return len(base.layers) + 1
    return len(system_plan(base)) + (base.standalone is not None)
