"""``envbuilder keys``: keys that sign evidence."""

from __future__ import annotations

from pathlib import Path

import click

from envbuilder.model.errors import UsageError


@click.group("keys")
def command() -> None:
    """Make the keys that sign evidence."""


@command.command("new")
@click.argument("path", type=click.Path(path_type=Path), default=Path("envbuilder"))
@click.option("--password", is_flag=True, help="Ask for a password that encrypts the private key.")
def new(path: Path, password: bool) -> None:
    """Write a new P-256 pair: PATH.key (private, keep it secret) and PATH.pub.

    The password may also stand in ENVBUILDER_KEY_PASSWORD. cosign verifies with PATH.pub.
    """
    import os
    import sys

    from envbuilder.evidence.keys import PASSWORD_VARIABLE, new_key

    secret = os.environ.get(PASSWORD_VARIABLE, "")
    if password and not secret:
        if not sys.stdin.isatty():
            raise UsageError(
                "there is no terminal to ask for the password", hint=f"set {PASSWORD_VARIABLE}"
            )
        secret = click.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    private, public = new_key(path, secret)
    protection = "encrypted" if secret else "not encrypted"
    click.echo(f"private key  {private} ({protection})")
    click.echo(f"public key   {public}")
