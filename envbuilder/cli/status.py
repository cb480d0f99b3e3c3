"""``envbuilder status``: all environments of this project at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.workflow.status import Status

_STYLES = {"good": "green", "red": "bold red", "unproven": "bold yellow", "fresh": ""}


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--html", "page", type=click.Path(path_type=Path, dir_okay=False),
    help="Write one page that needs no server, too.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Exit with 5 unless all are locked and known good.")
@options.output
def command(names: tuple[str, ...], page: Path | None, check: bool, output: str) -> None:
    """Show how each environment (or each NAME) stands: lock, image, and where it was known good.

    All is read from the files in lockfiles/, which are those of git: no network, no store.
    """
    from envbuilder.workflow.status import status

    found = [status(path) for path in _paths(names)]
    if page is not None:
        from envbuilder.model.atomic import write_text
        from envbuilder.workflow.status_page import status_page

        write_text(page, status_page(found))
    if output == "json":
        options.print_json([_plain(each) for each in found])
    else:
        _print(found)
    if check and not all(each.ready for each in found):
        raise SystemExit(5)


def _paths(names: tuple[str, ...]) -> list[Path]:
    from envbuilder.model.errors import UsageError

    if names:
        return [options.spec_path(name, None) for name in names]
    paths = sorted(options.FOLDER.glob("*.yaml"))
    if not paths:
        raise UsageError(
            f"{options.FOLDER}/ holds no specs", hint="envbuilder init NAME writes one"
        )
    return paths


def _plain(status: Status) -> dict[str, Any]:
    from dataclasses import asdict

    image = str(status.image) if status.image else None
    return {**asdict(status), "image": image, "ready": status.ready}


def _print(found: list[Status]) -> None:
    from rich.table import Table
    from rich.text import Text

    from .console import stdout

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("environment", "lock", "image", "smoke", "good on", "promoted as"):
        table.add_column(title, overflow="fold")
    for each in found:
        table.add_row(
            Text("\n".join((each.name, *each.platforms))),
            Text(each.lock, _STYLES.get(each.lock, "bold yellow")),
            Text(each.image.hex[:12] if each.image else ""),
            Text(f"{each.verdict} {each.time[:10]}".strip(), _STYLES.get(each.verdict, "")),
            Text("\n".join(map(str, each.good_on))),
            Text("\n".join(each.promoted)),
        )
    stdout().print(table)
    for each in found:
        if each.problem:
            click.echo(f"{each.name}: {each.problem}", err=True)
