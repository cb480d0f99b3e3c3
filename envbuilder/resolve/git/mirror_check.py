"""Whether our copies of git repositories are whole: git itself looks at every object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envbuilder.model.git_url import Address
from envbuilder.storage.store import Store

from .repository import GitRepository


def mirrors(store: Store) -> list[Path]:
    """Return the folders of all copies, in order; see ``mirror.Mirror``."""
    return sorted(path for path in (store.root / "git").glob("*") if path.is_dir())


def is_broken(mirror: Path) -> bool:
    """Return whether an object in one of the mirror's repositories is damaged or lacking.

    Raises MissingToolError without git.
    """
    return any(_is_broken(path) for path in sorted(mirror.glob("*.git")))


@contextmanager
def holding_mirror(store: Store, mirror: Path) -> Iterator[Callable[[], None]]:
    """Keep a copy as it is for the block's time; what this gives removes it.

    What is asked for later is fetched again.
    """

    def drop() -> None:
        with store.scratch() as scratch:
            mirror.rename(scratch / "gone")  # at once: half of it would pass for a whole one

    with store.lock(f"git-{mirror.name}"):
        yield drop


def _is_broken(path: Path) -> bool:
    repository = GitRepository(path=path, address=Address(text=str(path), local=True))
    return repository.exists and repository.ask("fsck", "--no-dangling", "--no-progress") is None
