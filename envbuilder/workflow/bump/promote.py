"""Move a registry's tag to a known-good image, and write that into the ledger."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from envbuilder.evidence.signers import Signing
from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.lock import Lock, image_of
from envbuilder.model.pylock import lock_path, parse_lock
from envbuilder.model.reference import ImageRef
from envbuilder.model.spec_words import Platform
from envbuilder.resolve.context import Context
from envbuilder.storage.build_records import present
from envbuilder.storage.ledger import (
    LedgerEntry,
    append,
    built_on,
    good_now,
    ledger_path,
    now,
    read,
    why_red,
)
from envbuilder.storage.store import Store
from envbuilder.workflow.publish_platforms import keep_published, publish_platforms

from .texts import checksum_of, texts_of


def promote(
    context: Context,
    spec_path: Path,
    wanted: LedgerEntry | None,
    target: ImageRef,
    *,
    signing: Signing | None = None,
) -> LedgerEntry:
    """Let ``target`` (with a tag) name the image of ``wanted``, and return whose it is.

    Without ``wanted`` it is the present lock's if that is known to be good, else the last good
    one: the newest result of an image decides. Where the registry has the image already, only the
    tag moves; with ``signing``, what says that the image is good lies beside it before that. A form
    that had to be made is listed in the lock if that is still the one of ``wanted``. Raises
    UsageError if the build is not known to be good, LockError if its lock is lost, and what
    ``publish`` raises.
    """
    path = ledger_path(spec_path)
    entries, _ = read(path)
    entry = wanted or good_now(entries, checksum_of(present(spec_path)))
    if entry is None:
        raise UsageError(
            f"{spec_path.stem} has no build that is known to be good",
            hint=f"envbuilder build {spec_path.stem}",
        )
    if why := why_red(entries, entry):
        raise UsageError(
            f"the build of {entry.time} is not known to be good: {why}",
            hint=f"envbuilder history {spec_path.stem} lists the builds; a green smoke of the "
            "same image makes it good again",
        )
    locks = _sealed_locks(spec_path, entry, context.store)
    built = built_on(entries, {entry.image})
    _, known = publish_platforms(context, locks, target, signing=signing, built=built)
    if locks == _present_locks(spec_path, entry):
        paths = {each: lock_path(spec_path, each) for each in locks}
        keep_published(context, paths, locks, known)
    append(path, replace(entry, time=now(), event="promote", note=f"as {target}"))
    return entry


def _sealed_locks(spec_path: Path, entry: LedgerEntry, store: Store) -> dict[Platform | None, Lock]:
    if (here := _present_locks(spec_path, entry)) is not None:
        return here
    texts = texts_of(spec_path, entry, store=store).locks
    name = f"the lock of {entry.time}"
    locks = {each: parse_lock(text.decode(), name=name) for each, text in texts.items()}
    if image_of(locks.values()) != entry.image:
        raise LockError(
            f"the lock of {entry.time} was sealed anew since, with another image than its own",
            hint=f"envbuilder history {spec_path.stem} lists the builds",
        )
    return locks


def _present_locks(spec_path: Path, entry: LedgerEntry) -> dict[Platform | None, Lock] | None:
    """Return the locks on disk, one for each platform, if ``entry`` is of them.

    They list the forms that were pushed since, which the texts that the build left do not.
    """
    texts = present(spec_path)
    if checksum_of(texts) != entry.lock:
        return None
    locks = {
        each: parse_lock(text.decode(), name=str(lock_path(spec_path, each)))
        for each, text in texts.locks.items()
    }
    return locks if image_of(locks.values()) == entry.image else None
