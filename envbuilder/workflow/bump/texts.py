"""Where the spec and lock of an earlier build are to be had, as they were, byte for byte.

The store keeps the texts of every build; where it lost them, or another machine built it, the git
history may have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import git

from envbuilder.model.errors import EnvbuilderError, LockError
from envbuilder.model.lock import joint, spec_checksum
from envbuilder.model.pylock import lock_checksum, lock_path, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import parse
from envbuilder.model.spec_platforms import platforms
from envbuilder.model.spec_words import PLATFORMS
from envbuilder.model.yaml_document import parse_document
from envbuilder.storage.build_records import BuildTexts, further_platforms, present, recall
from envbuilder.storage.ledger import LedgerEntry
from envbuilder.storage.store import Store


def texts_of(spec_path: Path, entry: LedgerEntry, *, store: Store) -> BuildTexts:
    """Find the texts of ``entry``: in the store, on disk now, or in the git history.

    Raises LockError if nobody has them any more.
    """
    kept = recall(store, entry.lock)
    if kept is not None:
        return kept
    for texts in _elsewhere(spec_path):
        found = checksum_of(texts), _spec_checksum(spec_path, texts)
        if found == (entry.lock, entry.spec):
            return texts
    raise LockError(
        f"neither the store nor git has the lock {entry.lock} of {entry.time}",
        hint="it was never committed, and the store that built it is another one or was pruned",
    )


def checksum_of(texts: BuildTexts) -> Digest | None:
    """Return the checksum of the locks' texts, or None if they cannot be read as locks."""
    try:
        return joint(lock_checksum(parse_lock(text.decode())) for text in texts.locks.values())
    except (EnvbuilderError, UnicodeDecodeError):
        return None


def committed(spec_path: Path) -> Iterator[BuildTexts]:
    """Yield spec and lock of each commit that changed one of them, newest first, if any."""
    try:
        repository = git.Repo(spec_path.resolve().parent, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return
    with repository:
        if not repository.head.is_valid() or repository.working_tree_dir is None:
            return
        root = Path(repository.working_tree_dir).resolve()

        def place(path: Path) -> str:
            return path.resolve().relative_to(root).as_posix()

        locks = {each: place(lock_path(spec_path, each)) for each in PLATFORMS}
        for commit in repository.iter_commits(paths=[place(spec_path), *locks.values()]):
            try:
                spec = (commit.tree / place(spec_path)).data_stream.read()
                named = further_platforms(spec_path, spec)
                first, *further = (
                    (commit.tree / locks[each]).data_stream.read()
                    for each in (PLATFORMS[0], *named)
                )
            except KeyError:
                continue  # one of them was not there yet
            yield BuildTexts(spec=spec, lock=first, further=dict(zip(named, further, strict=True)))


def _elsewhere(spec_path: Path) -> Iterator[BuildTexts]:
    yield present(spec_path)
    yield from committed(spec_path)


def _spec_checksum(spec_path: Path, texts: BuildTexts) -> Digest | None:
    try:
        document = parse_document(spec_path, texts.spec.decode())
        return joint(spec_checksum(parse(document, each)) for each in platforms(document))
    except (EnvbuilderError, UnicodeDecodeError):
        return None
