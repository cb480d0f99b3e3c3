"""Show a smoke report on a terminal, and write it to files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuilder.model.errors import UsageError

from . import options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from envbuilder.model.spec_words import Platform
    from envbuilder.smoke import Check, LayerSize, Report, TokenRow

_FORMATS = {".html", ".json", ".xml"}
WIDE = 200
"""Columns of the table in a file or a pipe, if nothing needs to be wrapped."""
_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "error": "bold red",
    "skip": "dim",
    "unproven": "bold yellow",
}


def check_targets(paths: Iterable[Path]) -> None:
    """Refuse a report file of unknown kind before any work is done."""
    for path in paths:
        if path.suffix not in _FORMATS:
            raise UsageError(
                f"cannot tell the format of the report {path}",
                hint="name it *.html, *.json or *.xml",
            )


def write_reports(
    report: Report, paths: Iterable[Path], *, layers: Sequence[LayerSize] = ()
) -> None:
    """Write ``report`` to each path, in the format that its suffix names.

    The page also shows the image's ``layers``.
    """
    from envbuilder.model.atomic import write_text
    from envbuilder.smoke import to_html, to_json, to_junit

    writers = {
        ".html": lambda: to_html(report, layers=layers),
        ".json": lambda: to_json(report),
        ".xml": lambda: to_junit(report),
    }
    for path in paths:
        write_text(path, writers[path.suffix]())


def named_for(platform: Platform | None, paths: Iterable[Path]) -> list[Path]:
    """Return the ``paths`` of a report on ``platform``; a further one's names say whose it is."""
    from envbuilder.model.pylock import suffix

    return [path.with_stem(f"{path.stem}{suffix(platform)}") for path in paths]


def show_reports(
    reports: Mapping[Platform | None, Report], output: str, allow_unproven: bool
) -> None:
    """Show the report of each platform, as :func:`show_report` does for the only one."""
    if len(reports) == 1:
        ((_, report),) = reports.items()
        show_report(report, output, allow_unproven=allow_unproven)
        return
    if output == "json":
        options.print_json({str(each): report.to_dict() for each, report in reports.items()})
    for platform, report in reports.items() if output != "json" else ():
        click.echo(f"{platform}:")
        print_report(report)
    if not all(each.passes(allow_unproven=allow_unproven) for each in reports.values()):
        raise SystemExit(8)


def show_report(report: Report, output: str, *, allow_unproven: bool) -> None:
    """Print ``report`` as ``output`` asks; end the command with 8 if it is not known good."""
    if output == "json":
        options.print_json(report.to_dict())
    else:
        print_report(report)
    if not report.passes(allow_unproven=allow_unproven):
        raise SystemExit(8)


def print_report(report: Report) -> None:
    """Print a token table for each model, every check, a line for each model, and the verdict."""
    from rich.text import Text

    from .console import printable, stdout

    console = stdout()
    if not console.is_terminal:
        console.width = WIDE
    several = len(report.models) > 1
    for name, rows in report.rows_by_model():
        if several:
            console.print(Text(printable(name), style="bold"))
        console.print(_table(rows))
        console.print()
    explained: set[str] = set()
    for check in report.checks:
        whose = f" {check.model}:" if several and check.model else ""
        _print_check(console, check, whose, explained)
    if report.touched is not None:
        console.print(Text(printable(report.touched.line), style="dim"), soft_wrap=True)
    for model in report.models if several else ():
        line = Text(f"{model.verdict:<8}", style=_STYLES[str(model.verdict)])
        line.append(printable(f" {model.name}  {model.summary}"), style="")
        console.print(line, soft_wrap=True)
    console.print(
        Text(printable(report.summary), style=_STYLES[str(report.verdict)]), soft_wrap=True
    )


def _print_check(console: Console, check: Check, whose: str, explained: set[str]) -> None:
    """Print what ``check`` found, and its cause, in full if it is not ``explained`` yet."""
    from rich.text import Text

    from .console import printable

    style = _STYLES[str(check.status)]
    line = Text(f"{check.status:<8}", style=style)
    said = printable(f"{whose} {check.name}  {check.explanation}", keep="\n")
    line.append(said, style="" if style != "dim" else "dim")
    told = [line]
    if len(check.details.get("findings", ())) > 1:
        told.append(Text("      all of them: --report FILE.html"))
    if check.cause is not None and check.cause.id in explained:
        told.append(Text(f"      cause: {check.cause.title} (see above)"))
    elif check.cause is not None:
        explained.add(check.cause.id)
        told.append(Text(f"      cause: {check.cause.title}: {_one_line(check.cause.cause)}"))
        told.append(Text(f"      cure: {_one_line(check.cause.cure)}"))
    if shown := check.details.get("reproduction"):
        told.append(Text("      no known cause fits; to see it, in Python:"))
        told += [Text(printable(f"        {each}")) for each in shown]
    for each in told:
        console.print(each, soft_wrap=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _table(rows: Iterable[TokenRow]) -> Table:
    """Return the token table of one model."""
    from rich.table import Table
    from rich.text import Text

    from .console import printable

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("sample", "formula", "placeholders", "embeddings", "engine", "stated", ""):
        justify = "left" if title in {"sample", ""} else "right"
        table.add_column(title, justify=justify)  # type: ignore[arg-type] # a literal
    for row in rows:
        cells = [Text(printable(cell)) for cell in _cells(row)]
        table.add_row(*cells, style="" if row.agree else "bold red")
    return table


def _cells(row: TokenRow) -> list[str]:
    counts = (row.formula, row.placeholders, row.embeddings, row.engine, row.stated)
    shown = ["" if count is None else str(count) for count in counts]
    return [f"{row.modality} {row.sample}", *shown, "" if row.agree else "disagree"]
