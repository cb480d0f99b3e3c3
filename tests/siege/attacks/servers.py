"""Hostile servers: a registry, a package index and a git server that say what they should not."""

from __future__ import annotations

import shutil

from tests.siege.attacks.kills import COLD
from tests.siege.door import MOODS
from tests.siege.field import Attack, Field
from tests.siege.testbed import NAME


def registry(field: Field) -> None:
    host = field.bed.host
    _besieged(
        field, 0,
        ("build", NAME, "--no-smoke", "--output-image", "oci:out"),
        ("fetch", NAME),
        ("lock", NAME, "--upgrade"),
        ("push", NAME, f"{host}/hostile:1", "--key", "key.key"),
        ("promote", NAME, f"{host}/hostile:2"),
        ("verify", f"{host}/pushed:1"),
        ("verify", f"{host}/pushed:1", "--key", "key.pub"),
        ("inspect", f"{host}/pushed:1"),
        ("diff", NAME, f"{host}/pushed:1", "--files"),
        ("smoke", "run", f"{host}/pushed:1"),
        ("outdated", NAME),
        ("doctor",),
    )  # fmt: skip


def index(field: Field) -> None:
    _besieged(
        field, 1,
        ("lock", NAME, "--upgrade"),
        ("fetch", NAME),
        ("build", NAME, "--no-smoke"),
        ("outdated", NAME),
        ("bump", NAME, "alpha==1.0"),
        ("doctor",),
    )  # fmt: skip


def git(field: Field) -> None:
    _besieged(
        field, 2,
        ("lock", NAME, "--upgrade"),
        ("fetch", NAME),
        ("build", NAME, "--no-smoke"),
        ("outdated", NAME),
        ("wheels", "build", NAME),
    )  # fmt: skip


def _besieged(field: Field, number: int, *commands: tuple[str, ...]) -> None:
    """Run one command while one of the servers is in a bad mood, on a store that needs it."""
    door, random = field.bed.doors[number], field.random
    for name in (*COLD, "../uv"):
        if random.random() < 0.6:
            shutil.rmtree(field.checkout.store / name, ignore_errors=True)
    arguments = random.choice(commands)
    door.random, door.skip, door.mood = random, random.choice((0, 0, 1, 2, 4)), random.choice(MOODS)
    try:
        with field.judge.as_it_was():
            field.judge.run(*arguments, bounded=True)
    finally:
        door.mood = None
    field.judge.settle()


ATTACKS = (
    Attack(name="hostile registry", run=registry),
    Attack(name="hostile package index", run=index, share=0),
    Attack(name="hostile git server", run=git, share=0),
)
