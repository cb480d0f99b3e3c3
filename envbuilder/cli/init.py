"""``envbuilder init``: write a commented starter spec."""

from __future__ import annotations

import re
from pathlib import Path

import click

from envbuilder.errors import UsageError

from . import options


@click.command("init")
@click.argument("name")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path),
    help="Write it here, not to lockfiles/.",
)
def command(name: str, file: Path | None) -> None:
    """Write a commented starter spec for NAME to lockfiles/NAME.yaml."""
    from envbuilder.lock_file import write_text
    from envbuilder.shipped import template
    from envbuilder.spec import NAME

    if not re.match(NAME, name):
        raise UsageError(f"{name!r} is no name: expected lower-case words joined by hyphens")
    path = file or options.FOLDER / f"{name}.yaml"
    if path.exists():
        raise UsageError(f"{path} exists already", hint="choose another name, or edit it")
    write_text(path, template("spec.yaml").replace("@NAME@", name))
    click.echo(f"wrote {path}; next: envbuilder build {name}")
