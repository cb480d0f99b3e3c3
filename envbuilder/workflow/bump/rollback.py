"""Go back to a build of the ledger: its spec and its lock, as they were, byte for byte.

Only the spec, the lock and the ledger are written; git's index, branches and the rest of the tree
stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from msgspec.structs import replace

from envbuilder.model.errors import UsageError
from envbuilder.storage.build_records import BuildTexts, present, recall
from envbuilder.storage.ledger import LedgerEntry, last_good, ledger_path, now, read, why_red
from envbuilder.storage.store import Store

from .texts import checksum_of, committed, texts_of
from .transaction import transaction


def rollback(
    spec_path: Path,
    wanted: LedgerEntry | None,
    *,
    store: Store,
    force: bool = False,
    red: bool = False,
) -> LedgerEntry:
    """Restore the spec and lock of ``wanted``, or of the last good build that is not the present.

    Returns the entry that was restored; the ledger gets a line. Raises UsageError if ``wanted``
    is not good (``red`` says that it need not be), or if the present spec or lock would be lost
    (``force`` says that they may be), and LockError if nobody has the texts any more.
    """
    with transaction(spec_path) as held:
        entries, _ = read(ledger_path(spec_path))
        texts_now = present(spec_path)
        entry = wanted or _before(entries, texts_now, spec_path)
        if not red and (why := why_red(entries, entry)):
            raise UsageError(
                f"the build of {entry.time} is not known to be good: {why}",
                hint="--red goes there all the same, to look into it",
            )
        texts = texts_of(spec_path, entry, store=store)
        if not force:
            _check_recoverable(spec_path, texts_now, texts, store)
        line = replace(entry, time=now(), event="rollback", note=f"to the build of {entry.time}")
        held.commit(texts, entry=line, over=texts_now)
    return entry


def _before(entries: Sequence[LedgerEntry], texts_now: BuildTexts, spec_path: Path) -> LedgerEntry:
    """Find the last good build before the present one, or of all where that was never built."""
    current = checksum_of(texts_now)
    builds = [each for each in entries if each.event == "build"]
    at = max((n for n, each in enumerate(builds) if each.lock == current), default=len(builds))
    entry = last_good(entries, [each for each in builds[:at] if each.lock != current])
    if entry is None:
        raise UsageError(
            f"the ledger of {spec_path.stem} has no good build before this one to go back to",
            hint=f"envbuilder history {spec_path.stem} lists what it has",
        )
    return entry


def _check_recoverable(
    spec_path: Path, texts_now: BuildTexts, texts: BuildTexts, store: Store
) -> None:
    """Refuse to overwrite by ``texts`` what neither git nor the store could give back."""
    checksum = checksum_of(texts_now)
    stored = None if checksum is None else recall(store, checksum)
    elsewhere = chain([texts], [] if stored is None else [stored], committed(spec_path))
    if any(_holds(each, texts_now) for each in elsewhere):
        return
    raise UsageError(
        f"{spec_path.name} or its lock has changes that neither git nor the store holds",
        hint="commit them first, or give them up with --force",
    )


def _holds(texts: BuildTexts, texts_now: BuildTexts) -> bool:
    """Return whether ``texts`` are those on disk, but for what is missing there: no loss at all."""
    locks = all(text in {b"", texts.locks.get(each)} for each, text in texts_now.locks.items())
    return texts_now.spec in {b"", texts.spec} and locks
