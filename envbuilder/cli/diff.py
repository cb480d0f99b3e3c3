"""``envbuilder diff``: what two locks or images differ in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.lock_diff import Change
    from envbuilder.model.progress import Progress
    from envbuilder.workflow.diff import Side


@click.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--files", is_flag=True, help="Also compare every file; reads all layers of images.")
@click.option("--platform", default="linux/amd64", show_default=True, help="Of images.")
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

    from .console import open_progress

    with open_progress(progress_mode) as progress:
        sides = [_side(text, platform, progress, files=files) for text in (old, new)]
    changes = compare_sides(*sides)
    if output == "json":
        options.print_json([_plain(change) for change in changes])
    else:
        _print(changes)


def _side(text: str, platform: str, progress: Progress, *, files: bool) -> Side:
    from envbuilder.model.pylock import read_lock
    from envbuilder.registry.open_image import open_image
    from envbuilder.workflow.diff import side_of_image, side_of_lock

    path = options.named_lock(text)
    if text.endswith(".toml") or path.is_file() or (options.FOLDER / f"{text}.yaml").is_file():
        return side_of_lock(text, read_lock(path))
    options.refuse_word(text)
    with open_image(text, platform) as opened:
        return side_of_image(opened, progress, files=files)


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
