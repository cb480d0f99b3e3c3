"""Pages of the reference that are made from the code; ``python -m tests.pages`` writes them.

A test compares each with what the code says now.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import click

import envbuilder
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


def _helps(
    group: click.Group, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """Yield each command's name and help, in the context that it has on the command line."""
    word = name.rpartition(" ")[2]
    with click.Context(group, info_name=word, parent=parent, **group.context_settings) as context:
        for each in group.list_commands(context):
            command = group.get_command(context, each)
            assert command is not None
            with click.Context(command, info_name=each, parent=context) as inner:
                inner.terminal_width = inner.max_content_width = _HELP_WIDTH
                yield f"{name} {each}", command.get_help(inner)
            if isinstance(command, click.Group):
                yield from _helps(command, f"{name} {each}", context)


def spec_schema() -> str:
    """Return the JSON schema of a spec, as ``envbuilder schema`` prints it."""
    return json.dumps(schema(), indent=2) + "\n"


def api() -> str:
    """Return the page of the library: every public name, in the words of its docstring."""
    head = f"# Library\n\n{inspect.getdoc(envbuilder)}\n\n{_EXAMPLE}"
    names = sorted(envbuilder.__all__, key=lambda name: (name[0].isupper(), name))
    return head + "".join(_entry(name, getattr(envbuilder, name)) for name in names)


_EXAMPLE = """\
```python
from pathlib import Path

import envbuilder

spec_path = Path("lockfiles/omni-cpu.yaml")
with envbuilder.open_context() as context:
    envbuilder.lock_environment(context, spec_path)
    runtime = envbuilder.choose("auto", context.store)
    result = envbuilder.build_environment(
        context, spec_path, envbuilder.Decisions(), runtime=runtime
    )
    if result.good:
        ref = envbuilder.ImageRef.parse("registry.example.org/team/omni:1")
        envbuilder.publish(context, result.lock, ref)
```
"""


def _entry(name: str, value: object) -> str:
    doc = inspect.getdoc(value) or ""
    signature = ""
    if inspect.isfunction(value):
        signature = re.sub(r"<[^>]*<?[^>]*>? at 0x\w+>", "…", str(inspect.signature(value)))
        signature = signature.replace("'", "")
    elif inspect.isclass(value) and is_dataclass(value):
        signature = f"({', '.join(f'{each.name}: {each.type}' for each in fields(value))})"
    return f"\n## {name}\n\n```python\n{name}{signature}\n```\n\n{doc}\n"


PAGES: dict[str, Callable[[], str]] = {
    "api.md": api,
    "commands.md": commands,
    "spec.schema.json": spec_schema,
}


def write(folder: Path) -> None:
    """Write every page into ``folder``."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE)
