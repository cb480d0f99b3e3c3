"""What an attack may never bring about, and how often it did: the figures of a siege."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

FAULTS = {
    "traceback": "tracebacks",
    "code": "other exit codes",
    "hang": "hangs",
    "leftover": "leftovers",
    "recovery": "not recovered",
    "change": "silent changes",
    "budget": "over budget",
}
"""Each kind of fault, and the head of its column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that must not be; ``seed`` makes its attack anew."""

    attack: str
    seed: int
    kind: str
    text: str

    def __str__(self) -> str:
        again = f"python -m tests.siege --only '{self.attack}' --seed {self.seed}"
        return f"{self.kind}: {self.attack}: {self.text}\n  again: {again}"


@dataclass(slots=True, kw_only=True)
class Tally:
    """How often an attack ran, what it cost at most, and its faults; ``skipped`` says why not."""

    attack: str
    runs: int = 0
    seed: int = 0
    peak: int = 0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    skipped: str = ""

    def fault(self, kind: str, text: str) -> None:
        """Note a fault of the run that is under way."""
        assert kind in FAULTS
        made = Fault(attack=self.attack, seed=self.seed, kind=kind, text=text[-3000:])
        self.faults.append(made)

    def cost(self, *, peak: int, seconds: float) -> None:
        """Note what one process took: bytes of memory, seconds of a processor."""
        self.peak = max(self.peak, peak)
        self.seconds = max(self.seconds, seconds)

    def add(self, other: Tally) -> None:
        """Add the figures of ``other``, of another siege or another attack."""
        self.runs += other.runs
        self.faults += other.faults
        self.cost(peak=other.peak, seconds=other.seconds)

    def count(self, kind: str) -> int:
        """Return how many faults of a kind there are."""
        return sum(fault.kind == kind for fault in self.faults)

    def row(self) -> str:
        """Return the attack's line of the table."""
        if self.skipped:
            return f"| {self.attack} | not run: {self.skipped} |" + " |" * (len(FAULTS) + 1)
        counts = (str(self.count(kind)) for kind in FAULTS)
        return f"| {self.attack} | {self.runs:,} | {' | '.join(counts)} | {self.peak >> 20} |"


def joined(tallies: Iterable[Tally]) -> list[Tally]:
    """Add up what several sieges tell of the same attack; who ran it anywhere has run it."""
    rows: dict[str, Tally] = {}
    for tally in tallies:
        known = rows.get(tally.attack)
        if known is None or known.skipped:
            rows[tally.attack] = tally
        elif not tally.skipped:
            known.add(tally)
    return list(rows.values())


def table(tallies: list[Tally]) -> str:
    """Return all figures as a table of Markdown."""
    heads = ["attack", "runs", *FAULTS.values(), "most MiB"]
    total = Tally(attack="**all**")
    for tally in tallies:
        total.add(tally)
    lines = [f"| {' | '.join(heads)} |", f"|---{'|---:' * (len(heads) - 1)}|"]
    return "\n".join([*lines, *(tally.row() for tally in [*tallies, total])]) + "\n"
