"""Go back to a build of the ledger: its spec and its lock, as they were, byte for byte.

The texts come from the store, which keeps those of every good build, or else out of the git
history. Only the spec, the lock and the ledger are written; git's index, branches and the rest of
the tree stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import git

from envbuilder.document import parse_document
from envbuilder.errors import EnvbuilderError, LockError, UsageError
from envbuilder.keep import Kept, recall
from envbuilder.layers.store import Store
from envbuilder.ledger import Entry, last_good, ledger_path, now, read
from envbuilder.lock import spec_checksum
from envbuilder.lock_file import lock_checksum, lock_path, parse_lock
from envbuilder.reference import Digest
from envbuilder.spec_file import parse

from .transaction import transaction


def rollback(spec_path: Path, wanted: Entry | None, *, store: Store, force: bool = False) -> Entry:
    """Restore the spec and lock of ``wanted``, or of the last good build that is not the present.

    Returns the entry that was restored; the ledger gets a line. Raises UsageError where ``wanted``
    is not good, or where the present spec or lock would be lost (``force`` says that they may be),
    and LockError where nobody has the texts any more.
    """
    with transaction(spec_path) as held:
        entries, _ = read(ledger_path(spec_path))
        present = _present(spec_path)
        entry = wanted or _before(entries, present, spec_path)
        if not entry.good:
            raise UsageError(
                f"the build of {entry.time} is not known to be good: {entry.smoke}",
                hint=f"envbuilder history {spec_path.stem} shows which are",
            )
        texts = recall(store, entry.lock) or _in_history(spec_path, entry)
        if not force:
            _check_recoverable(spec_path, present, store)
        line = replace(entry, time=now(), event="rollback", note=f"to the build of {entry.time}")
        held.commit(spec=texts.spec.decode(), lock=texts.lock.decode(), entry=line)
    return entry


def _present(spec_path: Path) -> Kept:
    try:
        return Kept(spec=spec_path.read_bytes(), lock=lock_path(spec_path).read_bytes())
    except OSError as error:
        raise LockError(f"cannot read {error.filename}: {error.strerror}") from error


def _before(entries: Sequence[Entry], present: Kept, spec_path: Path) -> Entry:
    """Find the last good build before the present one, or of all where that was never built."""
    current = _checksum(present)
    builds = [each for each in entries if each.event == "build"]
    at = max((n for n, each in enumerate(builds) if each.lock == current), default=len(builds))
    entry = last_good([each for each in builds[:at] if each.lock != current])
    if entry is None:
        raise UsageError(
            f"the ledger of {spec_path.stem} has no good build before this one to go back to",
            hint=f"envbuilder history {spec_path.stem} lists what it has",
        )
    return entry


def _checksum(kept: Kept) -> Digest | None:
    """Give the checksum of a lock's text, or None where it cannot be read as a lock."""
    try:
        return lock_checksum(parse_lock(kept.lock.decode()))
    except (EnvbuilderError, UnicodeDecodeError):
        return None


def _check_recoverable(spec_path: Path, present: Kept, store: Store) -> None:
    """Refuse to overwrite what neither git nor the store could give back."""
    checksum = _checksum(present)
    if checksum is not None and recall(store, checksum) == present:
        return
    for committed in _history(spec_path):
        if committed == present:
            return
    raise UsageError(
        f"{spec_path.name} or its lock has changes that neither git nor the store holds",
        hint="commit them first, or give them up with --force",
    )


def _in_history(spec_path: Path, entry: Entry) -> Kept:
    """Find the commit that held the spec and lock of ``entry``."""
    for committed in _history(spec_path):
        if (
            _checksum(committed) == entry.lock
            and _spec_checksum(spec_path, committed) == entry.spec
        ):
            return committed
    raise LockError(
        f"neither the store nor git has the lock {entry.lock} of {entry.time}",
        hint="it was never committed, and the store that built it is another one or was pruned",
    )


def _spec_checksum(spec_path: Path, kept: Kept) -> Digest | None:
    try:
        return spec_checksum(parse(parse_document(spec_path, kept.spec.decode())))
    except (EnvbuilderError, UnicodeDecodeError):
        return None


def _history(spec_path: Path) -> Iterator[Kept]:
    """Yield spec and lock of each commit that changed one of them, newest first, if any."""
    try:
        repository = git.Repo(spec_path.resolve().parent, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return
    with repository:
        if not repository.head.is_valid() or repository.working_tree_dir is None:
            return
        root = Path(repository.working_tree_dir).resolve()
        paths = [
            path.resolve().relative_to(root).as_posix()
            for path in (spec_path, lock_path(spec_path))
        ]
        for commit in repository.iter_commits(paths=paths):
            try:
                spec, lock = (commit.tree / path for path in paths)
            except KeyError:
                continue  # one of the two was not there yet
            yield Kept(spec=spec.data_stream.read(), lock=lock.data_stream.read())
