"""``envbuilder inspect``: what an image carries, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.workflow.inspect import Inspection, LayerReport


@click.command("inspect")
@click.argument("image")
@click.option("--no-waste", is_flag=True, help="Exit with 8 if any layer holds bytes of a cache.")
@click.option("--packages", is_flag=True, help="Also list the packages that each layer brings.")
@options.platform("the image")
@options.output
@options.progress
def command(
    image: str, no_waste: bool, packages: bool, platform: str, output: str, progress_mode: str
) -> None:
    """Show the layers of IMAGE: sizes, packages, hidden bytes, and every byte of cache.

    IMAGE is oci:DIR, PATH.tar, docker:NAME, or an image in a registry (HOST/NAME:TAG). Caches
    count wherever they lie, also below a later layer that removes them.
    """
    from envbuilder.registry.open_image import open_image
    from envbuilder.workflow.inspect import inspect

    from .context import open_context

    options.refuse_word(image)
    with (
        open_context(progress_mode) as context,
        open_image(image, platform, store=context.store, registries=context.registries) as opened,
    ):
        found = inspect(opened, context.progress)
    if output == "json":
        options.print_json(_plain(found))
    else:
        _print(found, packages=packages)
    if no_waste and found.waste:
        raise SystemExit(8)


def _plain(found: Inspection) -> dict[str, object]:
    return {
        "name": found.name,
        "digest": found.digest,
        "waste": found.waste,
        "layers": [_plain_layer(each) for each in found.layers],
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
    waste = size_text(found.waste) if found.waste else "none in any layer"
    console.print(Text(f"caches: {waste}", style="red" if found.waste else "green"))


def _title(each: LayerReport) -> str:
    from .console import printable

    return printable(" ".join(each.layer.title.split())) or str(each.layer.digest)
