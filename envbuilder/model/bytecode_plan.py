"""Which wheels' bytecode shares a layer, and in which order: a pure function of the plan.

The groups follow the order of the wheels' layers, each a run of neighbours. So of two wheels that
write one module, the later one's bytecode wins as its source does, whatever either knows of the
other. What people bump has a group of its own; all else shares a number that has a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from .lock import Wheel

HEAVY = 1 << 20
"""A wheel that the spec names, or that is built, may have a group of its own from this size on."""
MOST_OWN = 6
_RANGES = ("a-l", "m-q", "r-z")


@dataclass(frozen=True, slots=True, kw_only=True)
class BytecodeGroup:
    """Wheels whose bytecode becomes one layer, as they are laid down."""

    title: str
    wheels: tuple[Wheel, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The digests of what the layer is made of."""
        return tuple(str(wheel.sha256) for wheel in self.wheels)


def own_groups(asked: Iterable[Wheel]) -> frozenset[Wheel]:
    """Choose who gets a group: the largest of those that are ``asked`` for or built."""
    heavy = sorted(
        (wheel for wheel in asked if wheel.size >= HEAVY), key=lambda each: (-each.size, each)
    )
    return frozenset(heavy[:MOST_OWN])


def most_groups(own: frozenset[Wheel], buckets: int) -> int:
    """Return how many groups there are at most: what lies between those of their own is one."""
    return buckets + len(_RANGES) + 2 * len(own) + 1


def bytecode_groups(
    layers: Sequence[tuple[tuple[Wheel, ...], int | None]],
    *,
    own: frozenset[Wheel],
    asked: frozenset[Wheel],
) -> tuple[BytecodeGroup, ...]:
    """Group ``layers``, each its wheels and the number of its bucket, if it is one.

    ``asked`` are the wheels that the spec names or that are built.
    """

    def place(layer: tuple[tuple[Wheel, ...], int | None]) -> tuple[str, str]:
        wheels, bucket = layer
        if bucket is not None:
            return "bucket", str(bucket)
        if wheels[0] in own:
            return "own", wheels[0].name
        return ("asked", "") if wheels[0] in asked else ("heavy", _range(wheels[0].name))

    groups = (
        (key, tuple(wheel for wheels, _ in run for wheel in wheels))
        for key, run in groupby(layers, key=place)
    )
    return tuple(BytecodeGroup(title=_title(*key, wheels), wheels=wheels) for key, wheels in groups)


def _range(name: str) -> str:
    """Return the range of first letters that ``name`` falls into; digits come first."""
    return next(each for each in _RANGES if name[0] <= each[-1])


def _title(kind: str, number: str, wheels: tuple[Wheel, ...]) -> str:
    if kind == "bucket":
        return f"bytecode of packages {number}"
    first, last = wheels[0], wheels[-1]
    if first == last:
        return f"bytecode of {first.name} {first.version}"
    return f"bytecode of {first.name} to {last.name}"
