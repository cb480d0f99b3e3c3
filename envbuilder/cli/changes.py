"""Show what moved between two locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envbuilder.model.lock_diff import Change

_STYLES = {"asked": "bold", "forced": "yellow", "drifted": "magenta", "": ""}


def print_changes(changes: Sequence[Change]) -> None:
    """Print one line per change: why, what, from, to, and who forced it."""
    from rich.table import Table
    from rich.text import Text

    from .console import stdout

    table = Table(box=None, pad_edge=False, show_header=False)
    for change in changes:
        why = str(change.why or "")
        name = change.name if change.kind != "deb" else f"{change.name} (deb)"
        by = f"by {', '.join(change.by)}" if change.by else ""
        old, new = change.old or "-", change.new or "gone"
        table.add_row(Text(why, _STYLES[why]), Text(name), Text(old), "→", Text(new), Text(by))
    stdout().print(table)


def plain_change(change: Change) -> dict[str, Any]:
    """Return a change as JSON values."""
    return {
        "kind": str(change.kind),
        "name": change.name,
        "old": change.old,
        "new": change.new,
        "why": str(change.why) if change.why is not None else None,
        "by": list(change.by),
    }
