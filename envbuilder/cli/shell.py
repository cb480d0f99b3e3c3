"""``envbuilder shell``: a shell in an image, as ``run`` would run it."""

from __future__ import annotations

from typing import Any

import click

from .run import run, where
from .wishes import wishes


@click.command("shell")
@wishes
@where
@click.argument("name")
def command(name: str, **given: Any) -> None:  # noqa: ANN401 - see run()
    """Open a shell in NAME's image: bash if it has one, else sh.

    What is changed in there is gone with it.
    """
    run(name, (), in_shell=True, **given)
