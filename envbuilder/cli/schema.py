"""``envbuilder schema``: the spec's JSON schema."""

from __future__ import annotations

import click

from .options import print_json


@click.command("schema")
def command() -> None:
    """Print the JSON schema of a spec, for editors and validators."""
    from envbuilder.model.spec import schema

    print_json(schema())
