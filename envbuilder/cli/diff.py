"""``envbuilder diff``: what two locks or images differ in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.lock_diff import Change
    from envbuilder.resolve.context import Context
    from envbuilder.workflow.diff import Side


@click.command("diff")
@click.argument("old", shell_complete=options.complete_names)
@click.argument("new", shell_complete=options.complete_names)
@click.option("--files", is_flag=True, help="Also compare every file; reads all layers of images.")
@options.platform("images")
@options.output
@options.progress
def command(
    old: str, new: str, files: bool, platform: str, output: str, progress_mode: str
) -> None:
    """Show what changes from OLD to NEW: packages, settings, layers, and files with --files.

    Each of the two is a NAME, the path of a lock, oci:DIR, PATH.tar, docker:IMAGE, or an image in
    a registry (HOST/NAME:TAG).
    """
    from envbuilder.workflow.diff import compare_sides

    from .context import open_context

    with open_context(progress_mode) as context:
        sides = [_side(context, text, platform, files=files) for text in (old, new)]
    changes = compare_sides(*sides)
    if output == "json":
        options.print_json([_plain(change) for change in changes])
    else:
        _print(changes)


def _side(context: Context, text: str, platform: str, *, files: bool) -> Side:
    from envbuilder.model.pylock import read_lock
    from envbuilder.registry.open_image import open_image
    from envbuilder.workflow.diff import side_of_image, side_of_lock

    path = options.named_lock(text)
    if text.endswith(".toml") or path.is_file() or (options.FOLDER / f"{text}.yaml").is_file():
        return side_of_lock(text, read_lock(path))
    options.refuse_word(text)
    with open_image(text, platform, store=context.store, registries=context.registries) as opened:
        return side_of_image(opened, context.progress, files=files)


def _plain(change: Change) -> dict[str, str | None]:
    return {
        "kind": str(change.kind), "name": change.name, "old": change.old, "new": change.new,
    }  # fmt: skip


def _print(changes: tuple[Change, ...]) -> None:
    from rich.text import Text

    from .console import printable, stdout

    console = stdout()
    last = None
    for change in changes:
        if change.kind is not last:
            console.print(Text(f"{change.kind}s", style="bold"))
            last = change.kind
        name, old, new = (printable(text or "") for text in (change.name, change.old, change.new))
        if change.old is None:
            line = Text(f"  + {name} {new}", style="green")
        elif change.new is None:
            line = Text(f"  - {name} {old}", style="red")
        else:
            line = Text(f"  ~ {name} {old} -> {new}")
        console.print(line, soft_wrap=True)
    if not changes:
        console.print("no difference")
