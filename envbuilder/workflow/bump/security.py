"""The holes of a locked environment: what is to be closed, and what is written of the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from envbuilder.evidence.bill import Bill, bill_of_lock, facts_of_store
from envbuilder.model.atomic import write_text
from envbuilder.model.errors import LockError
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import lock_checksum
from envbuilder.resolve.context import Context
from envbuilder.storage.ledger import now

from .advisories import Concern, closing_pins, read_concerns
from .pins import Pin
from .vex import Stated, vex

_SHOWN = 20


def security_pins(
    context: Context, lock: Lock, databases: Sequence[Path], stated: Stated
) -> list[Pin]:
    """Return pins that close the holes of ``lock``, and note each hole.

    What ``stated`` excuses stays. Raises UsageError for a database that cannot be read.
    """
    found = read_concerns(_bill(context, lock), databases)
    open_holes = [each for each in found if each.affected and not stated.excuses(each)]
    _note(context, open_holes, excused=sum(each.affected for each in found) - len(open_holes))
    if lock.sources:
        names = ", ".join(source.name for source in lock.sources)
        context.progress.note(f"warning: --security does not look at what comes from git: {names}")
    places = lock.spec.places
    placed = sorted({each.part.name for each in open_holes if each.part.name in places})
    for name in placed:
        note = f"warning: --security cannot move {name}: it comes from {places[name]}"
        context.progress.note(note)
    return closing_pins(lock, [each for each in open_holes if each.part.name not in placed])


def write_vex(
    context: Context, lock: Lock, databases: Sequence[Path], stated: Stated, path: Path
) -> None:
    """Write to ``path`` what each advisory means for the sealed image of ``lock`` (OpenVEX).

    Raises LockError for a lock that was never built.
    """
    if lock.seal is None:
        name = lock.spec.name
        raise LockError(f"{name} was never built: --vex is about an image", hint="build it first")
    bill = _bill(context, lock)
    document = vex(bill, read_concerns(bill, databases), stated)
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _bill(context: Context, lock: Lock) -> Bill:
    """List what the environment consists of, built or not."""
    with context.progress.step("read", "what the packages say of themselves", unit="items"):
        facts = facts_of_store(context.store, lock)
    image = lock_checksum(lock) if lock.seal is None else lock.seal.manifest
    return bill_of_lock(lock, image, finished=now(), facts=facts)


def _note(context: Context, holes: Sequence[Concern], *, excused: int) -> None:
    for each in holes[:_SHOWN]:
        context.progress.note(f"hole     {each}")
    if holes[_SHOWN:]:
        context.progress.note(f"         and {len(holes) - _SHOWN} more")
    if excused:
        context.progress.note(f"{excused} holes do not matter here, as --vex says")
