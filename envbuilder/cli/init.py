"""``envbuilder init``: write a commented starter spec."""

from __future__ import annotations

from pathlib import Path

import click

from envbuilder.model.errors import UsageError

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
    import msgspec

    from envbuilder.model.atomic import write_text
    from envbuilder.model.codec import convert
    from envbuilder.model.resources import template
    from envbuilder.model.spec import IN_WORDS, NAME, Name

    try:
        convert(name, Name)
    except msgspec.ValidationError as error:
        expected = f"{IN_WORDS[NAME]}, 64 characters at most"
        raise UsageError(f"{name!r} is no name: expected {expected}") from error
    path = file or options.FOLDER / f"{name}.yaml"
    if path.stem != name:
        hint = f"envbuilder init {path.stem} -f {path}"
        raise UsageError(f"{path} cannot hold {name}: a spec is named like its file", hint=hint)
    if path.exists():
        raise UsageError(f"{path} exists already", hint="choose another name, or edit it")
    write_text(path, template("spec.yaml").replace("@NAME@", name))
    click.echo(f"wrote {path}; next: envbuilder build {name if file is None else f'-f {file}'}")
