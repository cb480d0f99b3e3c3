"""``envbuilder bisect``: which change turned the smoke red."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.lock import Lock
    from envbuilder.runtime import Completed
    from envbuilder.workflow.bisect.bisect import Found
    from envbuilder.workflow.bisect.narrow import Narrowed
    from envbuilder.workflow.bisect.oracle import Judge
    from envbuilder.workflow.bump.stages import Stages


@click.command("bisect")
@options.environment
@click.option("--good", metavar="A", help="A good end; by default the last good build but B.")
@click.option("--bad", metavar="B", help="A bad end; by default the present lock.")
@click.option("--check", metavar="CHECK", help="Judge by this check, like tokens.video.")
@click.option(
    "--run", "shell_command", metavar="COMMAND",
    help="Judge by a shell command inside the image: 0 is good, 125 cannot tell.",
)  # fmt: skip
@click.option("--fresh", is_flag=True, help="Forget what an earlier run found out, and start over.")
@options.cluster
@options.runtime("the images")
@options.output
@options.progress
def command(
    name: str | None,
    file: Path | None,
    good: str | None,
    bad: str | None,
    check: str | None,
    shell_command: str | None,
    fresh: bool,
    cluster: str | None,
    wait_for_nodes: bool,
    runtime: str,
    output: str,
    progress_mode: str,
) -> None:
    """Find the smallest set of changes between A and B that turns good into bad.

    A and B are locks (paths), entries of `envbuilder history`, or git revisions. Both ends are
    tested first. A bisection that was killed goes on where it was when it is called again.
    """
    from envbuilder.model.errors import UsageError
    from envbuilder.model.pylock import lock_path, read_lock
    from envbuilder.workflow.bisect.bisect import bisect
    from envbuilder.workflow.bisect.cost import telling
    from envbuilder.workflow.bisect.endpoints import find_end, good_end
    from envbuilder.workflow.bisect.intermediate_lock import span
    from envbuilder.workflow.bisect.journal import Journal, journal_path
    from envbuilder.workflow.bisect.narrow import between
    from envbuilder.workflow.make import engine_of

    from .cluster import opened_stages
    from .context import open_context

    if check is not None and shell_command is not None:
        raise UsageError("--check and --run are two ways to judge: choose one")
    path = options.refuse_several(options.spec_path(name, file))
    with open_context(progress_mode) as context:
        store = context.store
        new = read_lock(lock_path(path)) if bad is None else find_end(path, bad, store=store)
        old = good_end(context, path, new) if good is None else find_end(path, good, store=store)
        with opened_stages(
            cluster,
            context,
            folder=path.parent,
            engine=engine_of(old),
            runtime=runtime,
            growing=wait_for_nodes,
        ) as stages:
            judge = telling(
                _judge(stages, check, shell_command), store=store, note=context.progress.note
            )
            needs = (stages.needs(old), stages.needs(new))
            between_ends = span(old, new, good_needs=needs[0], bad_needs=needs[1])
            place = journal_path(store, old, new, (check, shell_command))
            with closing(Journal.open(place, context.progress, fresh=fresh)) as journal:
                found = bisect(between_ends, judge=judge, journal=journal, lines=between(stages))
    if output == "json":
        options.print_json(_plain(found))
    else:
        _print(found)


def _judge(stages: Stages, check: str | None, shell_command: str | None) -> Judge:
    from envbuilder.workflow.bisect.oracle import by_command, by_smoke

    if shell_command is None:
        return by_smoke(stages.build, check=check)
    args = ("/bin/sh", "-c", shell_command)
    run: Callable[[Lock], Completed] = lambda lock: stages.run(lock, args)  # noqa: E731
    return by_command(run)


def _print(found: Found) -> None:
    from envbuilder.workflow.bisect.intermediate_lock import BASE

    seconds = sum(step.seconds for step in found.steps)
    click.echo(
        f"{found.changes} changes, {len(found.steps)} tests in {seconds:.0f} s "
        f"({seconds / len(found.steps):.1f} s each)"
    )
    for step in found.steps:
        why = f"  ({step.detail})" if step.outcome == "skip" else ""
        click.echo(f"  {step.outcome:<5} {step.seconds:6.1f} s  {step.tried}{why}")
    click.echo()
    together = " together" if len(found.guilty) > 1 else ""
    click.echo(f"guilty{together}:")
    for group in found.guilty:
        joined = " or ".join(group)
        told = "  (could not be told apart)" if len(group) > 1 else ""
        click.echo(f"  {joined}{told}")
    if found.companions:
        click.echo("moved along, since the guilty need them:")
        for text in found.companions:
            click.echo(f"  {text}")
    if found.guilty == ((BASE,),) and not found.debs:
        click.echo("  (as a whole: its image, its suite or what the spec installs in it changed)")
    if found.debs:
        click.echo(f"guilty .deb packages{' together' if len(found.debs) > 1 else ''}:")
        for group in found.debs:
            click.echo(f"  {' + '.join(group)}")
    if found.narrowed is not None:
        _print_line(found.narrowed)


def _print_line(line: Narrowed) -> None:
    if line.mended_by is not None:
        click.echo(f"{line.kind} of {line.package} that mended it: {line.mended_by}")
    click.echo(f"first bad {line.kind} of {line.package}: {line.first_bad}")
    click.echo(f"last good: {line.last_good}")
    if line.skipped:
        click.echo(f"in between, and not to be judged: {', '.join(line.skipped)}")


def _plain(found: Found) -> dict[str, Any]:
    from envbuilder.model.codec import to_plain

    plain: dict[str, Any] = to_plain(found)
    return plain
