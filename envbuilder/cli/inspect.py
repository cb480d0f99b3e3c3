"""``envbuilder inspect``: what an image carries, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from rich.console import Console

    from envbuilder.registry.open_image import OpenedImage
    from envbuilder.resolve.context import Context
    from envbuilder.workflow.inspect import Inspection, LayerReport
    from envbuilder.workflow.start_needs import LayerNeed, StartNeeds

SHOWN = 12
"""Packages of a layer that a start never touches are worth a line; JSON has all of them."""


@click.command("inspect")
@click.argument("image", shell_complete=options.complete_names)
@click.option("--no-waste", is_flag=True, help="Exit with 8 if any layer holds bytes of a cache.")
@click.option("--packages", is_flag=True, help="Also list the packages that each layer brings.")
@click.option(
    "--start", is_flag=True, help="Say what a start needs of each layer, as the smoke recorded it."
)
@options.platform("the image")
@options.output
@options.progress
def command(
    image: str,
    no_waste: bool,
    packages: bool,
    start: bool,
    platform: str,
    output: str,
    progress_mode: str,
) -> None:
    """Show the layers of IMAGE: sizes, packages, hidden bytes, and every byte of cache.

    IMAGE is the NAME of an environment that was built here (or the path of its lock), oci:DIR,
    PATH.tar, docker:NAME, or an image in a registry (HOST/NAME:TAG). Caches count wherever they
    lie, also below a later layer that removes them.
    """
    from envbuilder.workflow.inspect import inspect

    from .context import open_context

    folder = options.FOLDER if start else None
    with (
        open_context(progress_mode) as context,
        _opened(context, image, platform) as opened,
    ):
        found = inspect(opened, context.progress, start_in=folder)
    if output == "json":
        options.print_json(_plain(found))
    else:
        _print(found, packages=packages)
    if no_waste and found.waste:
        raise SystemExit(8)


@contextmanager
def _opened(context: Context, image: str, platform: str) -> Iterator[OpenedImage]:
    """Open the built image of an environment, or the one that ``image`` names."""
    from envbuilder.model.pylock import read_lock
    from envbuilder.registry.open_image import open_image
    from envbuilder.workflow.inspect import open_sealed

    path = options.lock_or_image(image, platform)
    if path is not None:
        yield open_sealed(context.store, read_lock(path))
        return
    opening = open_image(image, platform, store=context.store, registries=context.registries)
    with opening as opened:
        yield opened


def _plain(found: Inspection) -> dict[str, object]:
    return {
        "name": found.name,
        "digest": found.digest,
        "waste": found.waste,
        "layers": [_plain_layer(each) for each in found.layers],
        **({} if found.start is None else {"start": _plain_start(found.start)}),
    }


def _plain_start(start: StartNeeds) -> dict[str, object]:
    """Return what a start needs; ``layers`` in the order of the image's own."""
    return {
        "by": list(start.by),
        "bytes": start.touched,
        "of": start.unpacked,
        "packed": start.packed,
        "packed_of": start.size,
        "layers": [
            {
                "title": each.layer.title,
                "bytes": each.touched,
                "of": each.unpacked,
                "packed": each.packed,
                "packages": list(each.packages),
            }
            for each in start.layers
        ],
        "untouched": [each.layer.title for each in start.untouched],
    }


def _plain_layer(each: LayerReport) -> dict[str, object]:
    return {
        "title": each.layer.title,
        "digest": str(each.layer.digest),
        "size": each.layer.size,
        "unpacked": each.unpacked,
        "files": each.files,
        "hidden": each.hidden,
        "packages": [
            {"kind": package.kind, "name": package.name, "version": package.version}
            for package in each.packages
        ],
        "caches": [
            {
                "tool": cache.tool,
                "files": cache.files,
                "bytes": cache.size,
                "hidden": cache.hidden,
                "example": cache.example,
            }
            for cache in each.leftovers
        ],
    }


def _print(found: Inspection, *, packages: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from .console import printable, size_text, stdout

    console = stdout()
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("layer", ratio=1, no_wrap=True)
    for name in ("size", "unpacked", "files", "packages", "hidden"):
        table.add_column(name, justify="right", no_wrap=True, min_width=9)
    for each in found.layers:
        sizes = (size_text(each.layer.size), size_text(each.unpacked))
        counts = (str(each.files), str(len(each.packages)))
        hidden = size_text(each.hidden) if each.hidden else ""
        table.add_row(Text(_title(each)), *sizes, *counts, hidden)
    console.print(table)
    for each in found.layers:
        if packages and each.packages:
            listed = ", ".join(f"{one.name} {one.version}" for one in each.packages)
            console.print(Text(f"{_title(each)}: {printable(listed)}"))
        for cache in each.leftovers:
            below = ", hidden by a later layer but still stored" if cache.hidden else ""
            text = f"{cache.tool} cache in {_title(each)}: {size_text(cache.size)} in "
            example = printable(cache.example)
            console.print(Text(f"{text}{cache.files} files{below} ({example})", style="red"))
    if found.start is not None:
        _print_start(console, found.start)
    waste = size_text(found.waste) if found.waste else "none in any layer"
    console.print(Text(f"caches: {waste}", style="red" if found.waste else "green"))


def _print_start(console: Console, start: StartNeeds) -> None:
    """Print what a start needs of each layer, the most first, and which layers it never touches."""
    from rich.table import Table
    from rich.text import Text

    from .console import printable, size_text

    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("a start needs", ratio=1, no_wrap=True)
    for name in ("touched", "of files", "about packed", "of layer"):
        table.add_column(name, justify="right", no_wrap=True, min_width=9)
    for each in sorted(start.layers, key=lambda one: -one.packed):
        if each.touched:
            sizes = (each.touched, each.unpacked, each.packed, each.layer.size)
            table.add_row(Text(_title(each)), *map(size_text, sizes))
    console.print(table)
    for each in start.untouched:
        more = f" and {len(each.packages) - SHOWN} more" if each.packages[SHOWN:] else ""
        named = f" ({printable(', '.join(each.packages[:SHOWN]))}{more})" if each.packages else ""
        but = ", but for its metadata" if each.listed else ""
        text = f"never touched: {size_text(each.layer.size)} in {_title(each)}{named}{but}"
        console.print(Text(text), soft_wrap=True)
    share = start.touched / start.unpacked if start.unpacked else 1.0
    console.print(
        f"a start needs {size_text(start.touched)} of {size_text(start.unpacked)} of files "
        f"({share:.0%}), about {size_text(start.packed)} of {size_text(start.size)} packed; "
        f"it never touches {len(start.untouched)} layers of "
        f"{size_text(sum(each.layer.size for each in start.untouched))}",
        soft_wrap=True,
    )


def _title(each: LayerReport | LayerNeed) -> str:
    from .console import printable

    return printable(" ".join(each.layer.title.split())) or str(each.layer.digest)
