"""Attack after attack, round after round, until the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

from tests.siege.field import Attack, Field, open_field
from tests.siege.judge import orphans_adopted
from tests.siege.tally import Tally
from tests.siege.testbed import Testbed, open_testbed

SLICE = 30.0
"""Seconds that an attack gets in a round, for each unit of its weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which attacks, for how many seconds; or each once, with ``seed``."""

    attacks: Sequence[Attack]
    seconds: float
    seed: int | None = None
    first: int = 1


def lay_siege(plan: Plan, *, tell: Callable[[str], None]) -> list[Tally]:
    """Return the figures of all attacks; faults are told as they happen."""
    with ExitStack() as stack:
        bed = stack.enter_context(open_testbed())
        stack.enter_context(orphans_adopted())
        able = [attack for attack in plan.attacks if not attack.missing()]
        fields = [stack.enter_context(open_field(bed, attack)) for attack in able]
        deadline = time.monotonic() + plan.seconds
        while True:
            for attack, field in zip(able, fields, strict=True):
                round_of(attack, field, plan, deadline=deadline, tell=tell)
            if plan.seed is not None or time.monotonic() >= deadline:
                break
        skipped = [
            Tally(attack=attack.name, skipped=attack.missing())
            for attack in plan.attacks if attack not in able
        ]  # fmt: skip
        return [*(field.tally for field in fields), *skipped]


def round_of(
    attack: Attack, field: Field, plan: Plan, *, deadline: float, tell: Callable[[str], None]
) -> None:
    """Attack for a slice of time, or once."""
    end = min(deadline, time.monotonic() + SLICE * attack.weight)
    known = len(field.tally.faults)
    while True:
        seed = plan.first + field.tally.runs if plan.seed is None else plan.seed
        once(attack, field, seed)
        for fault in field.tally.faults[known:]:
            tell(str(fault))
        known = len(field.tally.faults)
        if plan.seed is not None or time.monotonic() >= end:
            break
    tell(f"{time.strftime('%H:%M:%S')} {field.tally.row()}")


def once(attack: Attack, field: Field, seed: int) -> None:
    """Attack once, with the chances of ``seed``."""
    field.tally.seed = seed
    field.random = Random(f"{attack.name} {seed}")
    attack.run(field)
    field.tally.runs += 1


def share(bed: Testbed, attack: Attack) -> Tally:
    """Run the attack as often as CI does, always with the same seeds."""
    with open_field(bed, attack) as field:
        for seed in range(1, attack.share + 1):
            once(attack, field, seed)
        return field.tally
