"""``envbuilder cache``: look at, check and trim the store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from . import options


@click.group("cache")
def command() -> None:
    """Look at, check and trim the content store."""


@command.command("dir")
def directory() -> None:
    """Print where the store lies."""
    from envbuilder.storage.store import Store

    click.echo(Store.default().root)


@command.command("ls")
@options.output
def ls(output: str) -> None:
    """List the blobs with their sizes, and what the layers take that are unpacked to be run."""
    from envbuilder.runtime.trees import list_trees
    from envbuilder.storage.store import Store

    from .console import size_text

    store = Store.default()
    blobs = store.ls()
    if output == "json":
        options.print_json([{"digest": str(b.digest), "size": b.size} for b in blobs])
        return
    for blob in blobs:
        click.echo(f"{blob.digest}  {size_text(blob.size):>10}")
    click.echo(f"{len(blobs)} blobs, {size_text(sum(blob.size for blob in blobs))}")
    if trees := list_trees(store):
        click.echo(f"{len(trees)} layers unpacked, {size_text(sum(trees.values()))}")


@command.command("verify")
@options.output
@options.progress
def verify(output: str, progress_mode: str) -> None:
    """Read all that the store keeps, and say what is damaged; exits with 7 if anything is.

    Nothing is changed. Each unpacked layer is unpacked once more beside itself, to compare them.
    """
    from envbuilder.model.errors import BuildError

    if damaged := _examine(output, progress_mode, repair=False):
        raise BuildError(
            f"{damaged} damaged, see above",
            hint="envbuilder cache repair removes what is damaged; the next build makes it anew",
        )


@command.command("repair")
@options.output
@options.progress
def repair(output: str, progress_mode: str) -> None:
    """Read all that the store keeps, and remove what is damaged: the next build makes it anew."""
    removed = _examine(output, progress_mode, repair=True)
    if output == "text":
        click.echo(f"{removed} removed; what is missing is fetched or made by the next build")


def _examine(output: str, progress_mode: str, *, repair: bool) -> int:
    """Look at everything, say what was looked at and what is damaged, and return how much is."""
    from envbuilder.workflow.store_health import examine

    from .context import open_context

    found = []
    with open_context(progress_mode) as context:
        for kind in examine(context, repair=repair):
            found.append(kind)
            if output == "text":
                for name in kind.damaged:
                    click.echo(f"{'removed' if repair else 'damaged'}  {name}")
                click.echo(f"{kind.kind}: {kind.count - len(kind.damaged)} of {kind.count} sound")
    if output == "json":
        options.print_json([asdict(kind) for kind in found])
    return sum(len(kind.damaged) for kind in found)


@command.command("prune")
@options.lockfiles("Keep what the locks in this folder need.")
@click.option(
    "--reports", type=options.DAYS, default=30, show_default=True, metavar="DAYS",
    help="Keep the reports of red bumps, the steps of bisections and the logs of builds that long.",
)  # fmt: skip
@click.option(
    "--sources", type=options.DAYS, default=30, show_default=True, metavar="DAYS",
    help="Keep copies of git repositories, and what compilers remember of them, that long unused.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Keep nothing.")
def prune(lockfiles: Path, reports: int, sources: int, everything: bool) -> None:
    """Remove what no lock in --lockfiles needs any more.

    All checkouts share one store, and the locks of others are not known here: what those need is
    fetched or made again. What was used in the last hour always stays, and what runs.
    """
    from envbuilder.storage.store import Store
    from envbuilder.workflow.prune import prune as remove

    from .console import size_text

    if everything:
        done = remove(Store.default(), None, reports=0, sources=0)
    else:
        done = remove(Store.default(), lockfiles, reports=reports, sources=sources)
    click.echo(f"removed {done.blobs} blobs, {size_text(done.size)}")
    if done.reports:
        click.echo(
            f"removed {done.reports} reports of red bumps and bisections, and logs of builds"
        )
    if done.sources:
        click.echo(f"removed {done.sources} copies of git repositories and caches of compilers")
