"""Disks that are full, read-only or rationed, and too few descriptors."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.siege.attacks.kills import COLD, commands
from tests.siege.field import Attack, Field, only_root

ROOM = "600m"


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Put a file system of its own below ``folder``, with what lies there."""
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder))
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", folder], check=True)
        yield
        remount(folder, "rw")
        shutil.rmtree(aside)
        subprocess.run(["cp", "-a", folder, aside], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()
        aside.rename(folder)


def remount(folder: Path, options: str) -> None:
    _mount("-o", f"remount,{options}", str(folder))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def full(field: Field) -> None:
    """A disk with a random rest of room: below the store, the temporary files or the specs."""
    judge, random = field.judge, field.random
    arguments = random.choice(commands(field.bed.host))
    folder = random.choice((field.checkout.store, field.checkout.store, field.checkout.scratch,
                            field.checkout.spec.parent))  # fmt: skip
    with judge.as_it_was(), mounted(folder):
        if folder == field.checkout.store:
            for name in COLD:
                if random.random() < 0.5:
                    shutil.rmtree(folder / name, ignore_errors=True)
        used = int(subprocess.check_output(["du", "-sk", folder]).split()[0])
        rest = random.choice((0, 4, 16, 64, 256, 1024, 8192, 40_000))
        remount(folder, f"size={max(used + rest, 4)}k")  # none at all would be no limit
        outcome = judge.run(*arguments)
        words = outcome.stderr
        if outcome.code == 7 and "full" not in words and "No space" not in words:
            judge.tally.fault("code", f"a full {folder.name}: {arguments}: {words}")
        remount(folder, f"size={ROOM}")
    judge.settle()


def read_only(field: Field) -> None:
    """A read-only disk: what need not write works, the rest names the path."""
    judge, random = field.judge, field.random
    arguments = random.choice(commands(field.bed.host))
    folder = random.choice(
        (field.checkout.store, field.checkout.scratch, field.checkout.spec.parent)
    )
    with judge.as_it_was(), mounted(folder):
        remount(folder, "ro")
        outcome = judge.run(*arguments)
        if (
            outcome.code == 7
            and str(folder) not in outcome.stderr
            and folder.name not in outcome.stderr
        ):
            judge.tally.fault("code", f"read-only {folder.name}: {arguments}: {outcome.stderr}")
        remount(folder, "rw")
    judge.settle()


def few_descriptors(field: Field) -> None:
    """As many open files as a very small limit allows."""
    limit = field.random.randint(12, 80)
    arguments = field.random.choice(commands(field.bed.host))
    with field.judge.as_it_was():
        field.judge.run(*arguments, prefix=("prlimit", f"--nofile={limit}"))
    field.judge.settle()


def short_files(field: Field) -> None:
    """No file may be longer than a random limit (EFBIG)."""
    limit = field.random.choice((65_536, 100_000, 1_000_000, 3_000_000))
    arguments = field.random.choice(commands(field.bed.host))
    for name in COLD:
        if field.random.random() < 0.3:
            shutil.rmtree(field.checkout.store / name, ignore_errors=True)
    with field.judge.as_it_was():
        field.judge.run(*arguments, prefix=("prlimit", f"--fsize={limit}"))
    field.judge.settle()


ATTACKS = (
    Attack(name="full disks", run=full, missing=only_root),
    Attack(name="read-only disks", run=read_only, share=0, missing=only_root),
    Attack(name="few descriptors", run=few_descriptors, share=0),
    Attack(name="limits of a file's size", run=short_files, share=0),
)
