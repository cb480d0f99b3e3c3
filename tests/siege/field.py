"""What an attack gets: a checkout to hurt, its judge, chance, and the servers around it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from tests.siege.judge import Judge
from tests.siege.tally import Tally
from tests.siege.testbed import NAME, Checkout, Testbed


@dataclass(slots=True, kw_only=True)
class Field:
    """One attack's place; ``random`` is made anew from the seed of each run."""

    bed: Testbed
    checkout: Checkout
    judge: Judge
    random: Random

    @property
    def tally(self) -> Tally:
        return self.judge.tally

    def length(self, *arguments: str) -> float:
        """Return the seconds that a command takes, and run it once to learn that."""
        lengths = self.bed.lengths
        if arguments not in lengths:
            start = time.monotonic()
            with self.judge.as_it_was():
                self.judge.run(*arguments)
            lengths[arguments] = time.monotonic() - start
        return lengths[arguments]


def nothing_missing() -> str:
    return ""


def only_root() -> str:
    return "" if os.geteuid() == 0 else "only root can"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """``run`` is called with chance again and again; ``share`` is how often in CI."""

    name: str
    run: Callable[[Field], None]
    share: int = 1
    weight: float = 1.0
    """How much time it gets, beside the others."""
    missing: Callable[[], str] = nothing_missing
    """Say what this machine lacks for it, or nothing."""


@contextmanager
def open_field(bed: Testbed, attack: Attack) -> Iterator[Field]:
    """Lend a field with a checkout of its own."""
    with bed.checkout() as checkout:
        tally = Tally(attack=attack.name)
        judge = Judge(checkout=checkout, tally=tally, expected=_image(checkout))
        yield Field(bed=bed, checkout=checkout, judge=judge, random=Random(0))


def _image(checkout: Checkout) -> str:
    """Build once and return the image that there has to be ever after."""
    done = subprocess.run(
        checkout.command("build", NAME, "--no-smoke", "-o", "json"),
        cwd=checkout.folder, env=checkout.environment(), capture_output=True, check=True,
    )  # fmt: skip
    image: str = json.loads(done.stdout)["image"]
    return image
