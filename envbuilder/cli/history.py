"""``envbuilder history``: what the ledger says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.storage.ledger import LedgerEntry


@click.command("history")
@options.environment
@options.output
def command(name: str | None, file: Path | None, output: str) -> None:
    """Show every build of NAME, oldest first: what was good, where, and what became of it."""
    import json

    from envbuilder.storage.ledger import dump_entry, ledger_path, read

    path = ledger_path(options.spec_path(name, file))
    entries, torn = read(path)
    if torn:
        click.echo(
            f"warning: the last line of {path} is torn: a writer was killed. It counts for "
            "nothing, and the next entry replaces it.",
            err=True,
        )
    if output == "json":
        options.print_json([json.loads(dump_entry(entry)) for entry in entries])
    elif not entries:
        click.echo(f"{path} has no builds yet")
    else:
        _print(entries)


def _print(entries: tuple[LedgerEntry, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    from .console import stdout

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "time", "", "image", "lock", "what"):
        table.add_column(title, no_wrap=title != "what")
    for number, entry in enumerate(entries, start=1):
        verdict = Text("good", "green") if entry.good else Text("red", "bold red")
        if not entry.good and entry.smoke.startswith("unproven"):
            verdict = Text("unproven", "bold yellow")
        what = entry.smoke if entry.event == "build" else f"{entry.event} {entry.note}"
        host = ", ".join(part for part in (entry.host.gpu, entry.host.runtime) if part)
        table.add_row(
            str(number), entry.time, verdict, entry.image.hex[:12], entry.lock.hex[:12],
            Text(f"{what}  ({host})" if host else what),
        )  # fmt: skip
    stdout().print(table)
