"""All environments of a project at a glance: what their files say, without network or store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envbuilder.model.errors import EnvbuilderError, LockError
from envbuilder.model.lock import Lock, image_of, joint
from envbuilder.model.pylock import check_fresh, lock_checksum, lock_path, read_lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import load_each
from envbuilder.storage import ledger
from envbuilder.storage.ledger import BuildHost, LedgerEntry

LockState = Literal["fresh", "stale", "missing", "unreadable"]
Verdict = Literal["good", "red", "unproven", "never built"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A kind of host where an image was green: its GPU ("CPU" without one), driver, runtime."""

    gpu: str
    driver: str
    runtime: str

    def __str__(self) -> str:
        gpu = f"{self.gpu} (driver {self.driver})" if self.driver else self.gpu
        return f"{gpu}, {self.runtime}" if self.runtime else gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One environment: ``image`` is what its lock sealed, ``verdict`` that image's newest result.

    Of several ``platforms`` it is the index that lists their images.
    ``problem`` says in one line what is wrong with the spec, the lock or the ledger. ``time`` (RFC
    3339) and ``smoke`` (one line) are of the newest result, ``good_on`` all kinds of hosts where
    this image was green, ``promoted`` the tags that were moved to it, and not since then to
    another one, newest last.
    """

    name: str
    lock: LockState
    verdict: Verdict
    problem: str = ""
    image: Digest | None = None
    time: str = ""
    smoke: str = ""
    good_on: tuple[Place, ...] = ()
    promoted: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the lock is fresh, and its image known to be good."""
        return self.lock == "fresh" and self.verdict == "good" and not self.problem


def status(spec_path: Path) -> Status:
    """Say how the environment of the spec at ``spec_path`` stands; its files are only read."""
    state, locks, problem = _locks(spec_path)
    try:
        entries, _ = ledger.read(ledger.ledger_path(spec_path))
    except LockError as error:
        return Status(name=spec_path.stem, lock=state, verdict="never built", problem=error.brief)
    image = image_of(locks) if locks else None
    own = _of_these_locks(entries, locks, image)
    results = [entry for entry in own if entry.event == "build"]
    newest = ledger.newest_result(own)
    promoted = ledger.promoted_tags(entries)
    return Status(
        name=spec_path.stem,
        lock=state,
        verdict=_verdict(newest),
        problem=problem,
        image=image,
        time=newest.time if newest else "",
        smoke=newest.smoke if newest else "",
        good_on=tuple(dict.fromkeys(_place(entry.host) for entry in results if entry.good)),
        promoted=tuple(tag for tag, entry in promoted.items() if entry.image == image),
        platforms=tuple(lock.spec.platform for lock in locks) if len(locks) > 1 else (),
    )


def _locks(spec_path: Path) -> tuple[LockState, list[Lock], str]:
    """Read the lock of each platform, and say whether all are their spec's."""
    try:
        specs = load_each(spec_path)
        paths = [lock_path(spec_path, each) for each in specs]
        locks = [read_lock(path) for path in paths if path.exists()]
    except EnvbuilderError as error:
        return "unreadable", [], error.brief
    if len(locks) < len(specs):
        return "missing", [], ""
    try:
        for lock, spec in zip(locks, specs.values(), strict=True):
            check_fresh(lock, spec, name=spec_path.stem)
    except LockError as error:
        return "stale", locks, error.brief
    return "fresh", locks, ""


def _of_these_locks(
    entries: Sequence[LedgerEntry], locks: Sequence[Lock], image: Digest | None
) -> list[LedgerEntry]:
    """Return the entries of the very image that was sealed, or of the locks if they sealed none.

    A red build seals nothing: it is its lock's newest result all the same.
    """
    if not locks:
        return []
    checksum = joint(lock_checksum(lock) for lock in locks)
    return [each for each in entries if each.lock == checksum or each.image == image]


def _verdict(newest: LedgerEntry | None) -> Verdict:
    if newest is None:
        return "never built"
    if newest.good:
        return "good"
    return "unproven" if newest.smoke.startswith("unproven") else "red"


def _place(host: BuildHost) -> Place:
    return Place(gpu=host.gpu or "CPU", driver=host.driver, runtime=host.runtime)
