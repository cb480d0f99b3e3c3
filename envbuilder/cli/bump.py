"""``envbuilder bump``: change pins, see what moves, keep it or fall back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.image import Layer
    from envbuilder.resolve.context import Context
    from envbuilder.workflow.bump.bump import Bumped, Proposal
    from envbuilder.workflow.bump.pins import Pin
    from envbuilder.workflow.bump.vex import Stated


@click.command("bump")
@options.environment
@click.argument("pins", nargs=-1, metavar="PIN...")
@click.option("--all", "everything", is_flag=True, help="All packages that can move, and system.")
@click.option(
    "--security", metavar="OSV", type=click.Path(path_type=Path, exists=True), multiple=True,
    help="What has a known hole, by an OSV database (a folder or zip of JSON), and system. "
    "Repeatable: PyPI's and Debian's.",
)  # fmt: skip
@click.option(
    "--vex", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="With --security: leave the holes that this OpenVEX file calls not_affected, and write "
    "there what holds for the image.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would move; change and build nothing.")
@options.runtime("the smoke test")
@options.engine("What builds the image; else what built it before.", default=None)
@options.allow_unproven
@options.output
@options.progress
def command(
    name: str | None,
    file: Path | None,
    pins: tuple[str, ...],
    everything: bool,
    security: tuple[Path, ...],
    vex: Path | None,
    dry_run: bool,
    runtime: str,
    engine: str | None,
    allow_unproven: bool,
    output: str,
    progress_mode: str,
) -> None:
    """Change PINs of NAME, lock with all else held, build and smoke: keep it if it is good.

    \b
    PIN is NAME==VERSION, NAME (newest that resolves), NAME@COMMIT, NAME@TAG or NAME@BRANCH,
    python=3.12, base=IMAGE, base, system or exclude-newer=DATE.

    When the smoke test fails, or leaves unproven what it was asked, all files stay as they were,
    the report is kept, and the exit code is 8.
    """  # noqa: D301 - click's mark for lines that stay as they are
    from envbuilder.model.pylock import lock_path, read_lock
    from envbuilder.runtime import choose
    from envbuilder.workflow.bump.bump import bump, propose
    from envbuilder.workflow.bump.security import write_vex
    from envbuilder.workflow.bump.stages import real_stages
    from envbuilder.workflow.make import engine_for

    from .context import open_context

    if file is not None and name is not None:
        pins = (name, *pins)
        name = None
    path = options.spec_path(name, file)
    started = time.monotonic()
    with open_context(progress_mode) as context:
        stages = real_stages(
            context,
            folder=path.parent,
            engine=engine or engine_for(path),
            runtime=None if dry_run else choose(runtime, context.store),
        )
        stated = _stated(security, vex)
        wishes = _wishes(context, path, pins, everything=everything, security=security,
            stated=stated)  # fmt: skip
        if dry_run:
            proposal = propose(path, wishes, stages=stages, progress=context.progress)
            _show_proposal(proposal, output)
        else:
            done = bump(context, path, wishes, stages=stages, allow_unproven=allow_unproven)
        if vex is not None:
            write_vex(context, read_lock(lock_path(path)), security, stated, vex)
    if dry_run:
        return
    _show(done, output, seconds=time.monotonic() - started)
    if done.failed is not None:
        raise SystemExit(8)


def _stated(security: tuple[Path, ...], vex: Path | None) -> Stated:
    from envbuilder.model.errors import UsageError
    from envbuilder.workflow.bump.vex import Stated, read_vex

    if vex is None:
        return Stated((), "")
    if not security:
        raise UsageError("--vex tells of holes", hint="add --security OSV, which knows them")
    return read_vex(vex)


def _wishes(
    context: Context,
    path: Path,
    texts: tuple[str, ...],
    *,
    everything: bool,
    security: tuple[Path, ...],
    stated: Stated,
) -> list[Pin]:
    from envbuilder.model.errors import UsageError
    from envbuilder.model.pylock import lock_path, read_lock
    from envbuilder.model.spec_file import load_each
    from envbuilder.workflow.bump.pins import all_pins, parse_pin
    from envbuilder.workflow.bump.security import security_pins

    wishes = [parse_pin(text) for text in texts]
    if everything:
        wishes += all_pins(next(iter(load_each(path).values())))
    if security:
        wishes += security_pins(context, read_lock(lock_path(path)), security, stated)
    if not wishes:
        raise UsageError(
            "expected at least one PIN, --all or --security",
            hint=f"envbuilder outdated {path.stem} lists what is newer",
        )
    return wishes


def _show_proposal(proposal: Proposal, output: str) -> None:
    from .changes import plain_change, print_changes

    if output == "json":
        options.print_json({"changes": [plain_change(each) for each in proposal.changes]})
    elif not proposal.moves:
        click.echo("nothing moves")
    else:
        print_changes(proposal.changes)


def _show(done: Bumped, output: str, *, seconds: float) -> None:
    from .console import size_text
    from .report import print_report

    if output == "json":
        options.print_json(_plain(done, seconds))
        return
    _show_proposal(done.proposal, output)
    if done.built is None:
        return
    for part in done.built.parts.values():
        if part.report is not None:
            click.echo()
            print_report(part.report)
    size, own = (size_text(sum(each.size for each in some)) for some in (done.layers, done.own))
    total = sum(len(part.image.layers) for part in done.built.parts.values())
    click.echo(f"layers {len(done.layers)} of {total} new, {size} written:")
    for layer in done.layers:
        click.echo(f"       {layer.title}")
    click.echo(f"       and {own} of the environment's own files: the lock that it carries")
    if done.failed is None:
        click.echo(f"kept   {done.built.digest}")
        click.echo(f"       after {seconds:.1f} s, the smoke test included")
    else:
        click.echo(f"not kept; all files are as they were. Evidence: {done.failed}")


def _plain(done: Bumped, seconds: float) -> dict[str, Any]:
    from .changes import plain_change

    built = done.built
    reports = {} if built is None else {of: each.report for of, each in built.parts.items()}
    told = {of: None if each is None else each.to_dict() for of, each in reports.items()}
    return {
        "changes": [plain_change(each) for each in done.proposal.changes],
        "kept": built is not None and done.failed is None,
        "image": None if built is None else str(built.digest),
        "layers": [_plain_layer(layer) for layer in done.layers],
        "own": [_plain_layer(layer) for layer in done.own],
        "failed": None if done.failed is None else str(done.failed),
        "smoke": {str(of): each for of, each in told.items()} if len(told) > 1 else told.get(None),
        "seconds": round(seconds, 1),
    }


def _plain_layer(layer: Layer) -> dict[str, Any]:
    return {"title": layer.title, "digest": str(layer.digest), "size": layer.size}
