"""Bit rot: every kind of file of the store, and of the checkout."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from tests.siege.attacks.kills import commands
from tests.siege.field import Attack, Field
from tests.siege.testbed import NAME

BUILD = ("build", NAME, "--no-smoke", "--locked", "--output-image", "oci:out")


def of_store(field: Field) -> None:
    """Damage files of one kind; then any command, `cache repair`, and the next build."""
    kind = field.random.choice(sorted(_kinds(field.checkout.store)))
    files = _files(field.checkout.store / kind)
    for _ in range(field.random.choice((1, 1, 3, 10))):
        damage(files, field.random)
    with field.judge.as_it_was():
        field.judge.run(*field.random.choice(commands(field.bed.host)))
    if field.random.random() < 0.5:
        field.judge.run("cache", "verify")
    repaired = field.judge.run("cache", "repair")
    if repaired.code:
        field.tally.fault("recovery", f"cache repair after damage to {kind}: {repaired.stderr}")
    field.judge.settle(build=field.random.choice(((), ("--no-smoke",))))


def of_store_unrepaired(field: Field) -> None:
    """The same, and a build at once: it may refuse, but must not make another image."""
    kind = field.random.choice(sorted(_kinds(field.checkout.store)))
    damage(_files(field.checkout.store / kind), field.random)
    if field.judge.run(*BUILD).code == 0:
        field.judge.settle()
    field.judge.run("cache", "repair")
    field.judge.settle()


def of_checkout(field: Field) -> None:
    """A spec, a lock or a ledger with other bytes: a word about it, or the same image."""
    with field.judge.as_it_was():
        damage(_files(field.checkout.spec.parent), field.random)
        if field.judge.run(*BUILD).code == 0:
            field.judge.settle()
        field.judge.run(*field.random.choice(commands(field.bed.host)))
    field.judge.settle()


def _kinds(store: Path) -> set[str]:
    """Return the folders of the store that hold files; the kinds of records one by one."""
    found = {path.name for path in store.iterdir() if path.is_dir() and _files(path)}
    records = {f"records/{path.name}" for path in (store / "records").iterdir()}
    return (found | records) - {"records"}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def damage(files: list[Path], random: Random) -> None:
    """Flip a byte, cut short, empty, or swap two; sometimes with the old times."""
    files = [path for path in files if path.exists() and path.stat().st_size]
    if not files:
        return
    path = random.choice(files)
    facts = path.stat()
    data = bytearray(path.read_bytes())
    act = random.choice(("flip", "flip", "cut", "empty", "swap", "gone"))
    if act == "flip":
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif act == "cut":
        del data[random.randrange(len(data)) :]
    elif act == "empty":
        data.clear()
    elif act == "gone":
        path.unlink()
        return
    else:
        other = random.choice(files)
        theirs = other.read_bytes()
        _write(other, bytes(data))
        data = bytearray(theirs)
    _write(path, bytes(data))
    if random.random() < 0.5:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _write(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode & 0o7777)


ATTACKS = (
    Attack(name="bit rot in the store, repaired", run=of_store, share=0),
    Attack(name="bit rot in the store, built at once", run=of_store_unrepaired, share=0),
    Attack(name="bit rot in specs, locks, ledgers", run=of_checkout),
)
