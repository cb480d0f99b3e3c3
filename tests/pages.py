"""Pages of the reference that are made from the code; ``python -m tests.pages`` writes them.

A test compares each with what the code says now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from envbuilder.cli.app import cli
from envbuilder.model.spec import schema

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
_HELP_WIDTH = 88  # characters


def commands() -> str:
    """Return the page of all commands, in the words of their ``--help``."""
    head = (
        "# Commands\n\nWhat `envbuilder COMMAND --help` says of each (`python -m tests.pages`).\n"
    )
    parts = [f"\n## {name}\n\n```text\n{text}\n```\n" for name, text in _helps(cli, "envbuilder")]
    return head + "".join(parts)


def _helps(group: click.Group, name: str) -> Iterator[tuple[str, str]]:
    with click.Context(group, info_name=name, max_content_width=_HELP_WIDTH) as context:
        for word in group.list_commands(context):
            command = group.get_command(context, word)
            assert command is not None
            with click.Context(
                command, info_name=word, parent=context, max_content_width=_HELP_WIDTH
            ) as inner:
                inner.terminal_width = _HELP_WIDTH
                yield f"{name} {word}", command.get_help(inner)
                if isinstance(command, click.Group):
                    yield from _helps(command, f"{name} {word}")


def spec_schema() -> str:
    """Return the JSON schema of a spec, as ``envbuilder schema`` prints it."""
    return json.dumps(schema(), indent=2) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "spec.schema.json": spec_schema,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
