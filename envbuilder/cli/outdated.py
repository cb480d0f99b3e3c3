"""``envbuilder outdated``: what is newer than what is locked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.workflow.bump.outdated import Newer

_WIDTH = 28
_DIFFERENT = 14  # characters that tell two texts apart


@click.command("outdated")
@options.environment
@click.option(
    "--min-age", type=options.DAYS, default=0, metavar="DAYS",
    help="Leave out releases that are younger.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Also what only comes along with others.")
@options.output
@options.progress
def command(
    name: str | None,
    file: Path | None,
    min_age: int,
    everything: bool,
    output: str,
    progress_mode: str,
) -> None:
    """List newer releases, commits, moved tags, base images and .deb files for NAME.

    The spec's index.exclude_newer hides what it hides from a lock.
    """
    from datetime import UTC, datetime, timedelta

    from envbuilder.model.pylock import lock_path, read_lock
    from envbuilder.workflow.bump.outdated import outdated
    from envbuilder.workflow.bump.stages import real_stages

    from .context import open_context

    path = options.spec_path(name, file)
    lock = read_lock(lock_path(path))
    youngest = datetime.now(UTC) - timedelta(days=min_age) if min_age else None
    with open_context(progress_mode) as context:
        stages = real_stages(context, folder=path.parent)
        found = outdated(lock, stages=stages, progress=context.progress, youngest=youngest)
    shown = [each for each in found if everything or each.named or each.what != "release"]
    if output == "json":
        options.print_json([_plain(each) for each in shown])
    else:
        _print(shown, hidden=len(found) - len(shown))


def shortened(one: str, other: str) -> tuple[str, str]:
    """Shorten two long texts for a table, and leave in what tells them apart."""
    pairs = enumerate(zip(one, other, strict=False))
    shared = next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
    if max(len(one), len(other)) <= _WIDTH:
        return one, other
    start = 0 if shared < _WIDTH - _DIFFERENT else shared
    return _part(one, start), _part(other, start)


def _part(text: str, start: int) -> str:
    """Show the head of ``text`` and, from ``start`` on, what follows, in _WIDTH characters."""
    if len(text) <= _WIDTH:
        return text
    if start == 0:
        return f"{text[: _WIDTH - 1]}…"
    head = _WIDTH - _DIFFERENT - 2
    end = text[start : start + _DIFFERENT]
    return f"{text[:head]}…{end}{'…' if start + _DIFFERENT < len(text) else ''}"


def _plain(newer: Newer) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(newer), "what": str(newer.what)}


def _print(found: list[Newer], *, hidden: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from .console import size_text, stdout

    if not found and not hidden:
        click.echo("everything is the newest")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("what", "name", "locked", "newest", "since", "size"):
        table.add_column(title, overflow="fold")  # a narrow place may break a text, never cut it
    for each in found:
        size = size_text(each.size) if each.size else ""
        current, newest = shortened(each.current, each.newest)
        cells = (str(each.what), each.name, current, newest, each.date[:10], size)
        table.add_row(*(Text(cell) for cell in cells))
    stdout().print(table)
    if hidden:
        click.echo(f"and {hidden} packages that only come along (--all shows them)", err=True)
