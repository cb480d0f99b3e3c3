"""The commits that lead from one commit of a repository to another."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from .repository import GitRepository


def commits_between(history: GitRepository, old: str, new: str) -> tuple[str, ...]:
    """List the commits after ``old`` up to ``new``, oldest first; none if ``new`` is no heir.

    Along the first parents where these lead there, so that neighbours are parent and child, and
    one merge counts as one step; else all that lie between, parents before children.
    """
    if history.ask("merge-base", "--is-ancestor", old, new) is None:
        return ()
    span = f"{old}..{new}"
    main = (history.ask("rev-list", "--reverse", "--first-parent", span) or "").split()
    if main and history.ask("rev-parse", f"{main[0]}^") == old:
        return tuple(main)
    flags = ("--reverse", "--topo-order", "--ancestry-path")
    return tuple((history.ask("rev-list", *flags, span) or "").split())


def moment_of(history: GitRepository, commit: str) -> str:
    """Say when a commit was made (RFC 3339, UTC); empty if the repository lacks it.

    Empty also for a moment that no calendar has: anyone may date a commit.
    """
    seconds = history.ask("log", "-1", "--format=%ct", commit)
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(int(seconds or ""), UTC).isoformat()
    return ""
