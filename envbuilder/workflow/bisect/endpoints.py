"""The ends of a bisection: which lock a user means by a number, a path or a git revision."""

from __future__ import annotations

from pathlib import Path

import git

from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import lock_checksum, lock_path, parse_lock, read_lock
from envbuilder.resolve.context import Context
from envbuilder.storage.ledger import LedgerEntry, choose, last_good, ledger_path, read
from envbuilder.storage.store import Store
from envbuilder.workflow.bump.texts import texts_of

_HINT = "a lock's path, an entry of `envbuilder history`, or a git revision"


def find_end(spec_path: Path, text: str, *, store: Store) -> Lock:
    """Find the lock that ``text`` means: a path, a ledger entry, or a git revision.

    Raises UsageError if it is none of these, LockError if its lock is not to be had.
    """
    path = Path(text)
    if path.suffix == ".toml" and path.is_file():
        return read_lock(path)
    entries, _ = read(ledger_path(spec_path))
    try:
        entry = choose(entries, text)
    except UsageError as error:
        lock = _at_revision(spec_path, text)
        if lock is None:
            raise UsageError(f"{text!r} is no end: {error.message}", hint=_HINT) from error
        return lock
    return _of_entry(spec_path, entry, store)


def good_end(context: Context, spec_path: Path, bad: Lock) -> Lock:
    """Return the lock of the last good build that is not ``bad``, and say which that is.

    Raises UsageError if there is none.
    """
    entries, _ = read(ledger_path(spec_path))
    entry = last_good(entries, [each for each in entries if each.lock != lock_checksum(bad)])
    if entry is None:
        raise UsageError(
            "no other build of the ledger is good, so name one with --good", hint=_HINT
        )
    number = entries.index(entry) + 1
    context.progress.note(f"good end: entry {number} of the history, of {entry.time}")
    return _of_entry(spec_path, entry, context.store)


def _of_entry(spec_path: Path, entry: LedgerEntry, store: Store) -> Lock:
    text = texts_of(spec_path, entry, store=store).lock.decode()
    return parse_lock(text, name=f"the lock of {entry.time}")


def _at_revision(spec_path: Path, revision: str) -> Lock | None:
    """Read the lock as a git commit has it; None if there is no such commit."""
    path = lock_path(spec_path).resolve()
    try:
        with git.Repo(path.parent, search_parent_directories=True) as repository:
            root = Path(repository.working_tree_dir or "").resolve()
            # git itself reads the revision: GitPython knows few of its forms, such as HEAD@{1}.
            asked = ("--verify", "--quiet", "--end-of-options", revision)
            commit = repository.commit(repository.git.rev_parse(*asked))
            blob = commit.tree / path.relative_to(root).as_posix()
            text: bytes = blob.data_stream.read()
    except (git.GitError, ValueError):  # no repository, no such revision, or no commit
        return None
    except KeyError as error:
        raise LockError(f"{revision} has no {path.name}", hint=_HINT) from error
    return parse_lock(text.decode(), name=f"{path.name} at {revision}")
