"""``envbuilder regenerate``: rebuild many environments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder import Context
    from envbuilder.workflow.bump.regenerate import Make, Result
    from envbuilder.workflow.cluster.jobs import Jobs


@click.command("regenerate")
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=options.complete_names)
@click.option(
    "-f", "--file", "files", type=click.Path(path_type=Path), multiple=True,
    help="A spec anywhere, beside the NAMEs. Repeatable.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Every spec in lockfiles/.")
@click.option("--bump", "pins", multiple=True, metavar="PIN", help="Bump this in each. Repeatable.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="How many at once; else what fits.")
@options.cluster
@click.option("--stop", is_flag=True, help="With --cluster: end the jobs of each, and no more.")
@options.runtime("the smoke tests")
@options.allow_unproven
@options.output
@options.progress
def command(
    names: tuple[str, ...],
    files: tuple[Path, ...],
    everything: bool,
    pins: tuple[str, ...],
    jobs: int | None,
    cluster: str | None,
    wait_for_nodes: bool,
    stop: bool,
    runtime: str,
    allow_unproven: bool,
    output: str,
    progress_mode: str,
) -> None:
    """Build and smoke each NAME, or bump PINs in each: what is good is kept.

    A failure does not stop the others; the exit code is that of the worst. With --cluster a job is
    made of each, and of each type in its smoke.gpus; whoever is killed and calls again finds them.
    """
    from envbuilder.workflow.bump.regenerate import regenerate, worst

    from .cluster import opened_cluster
    from .context import open_context

    _check_cluster(cluster, jobs=jobs, stop=stop, wait_for_nodes=wait_for_nodes, pins=pins)
    paths = _paths(names, files, everything=everything)
    with open_context(progress_mode) as context:
        if cluster is None:
            results = _here(context, paths, pins, jobs, runtime, allow_unproven=allow_unproven)
        else:
            growing = wait_for_nodes
            with opened_cluster(cluster, context, runtime=runtime, growing=growing) as there:
                make = _making(context, there, pins, stop=stop, allow_unproven=allow_unproven)
                results = regenerate(paths, make, jobs=len(paths), stop=context.stop)
    if output == "json":
        from dataclasses import asdict

        options.print_json([asdict(each) for each in results])
    else:
        _print(results)
    for each in results:
        if each.error:
            click.echo(f"\n{each.name}: {each.error}", err=True)
    if code := worst(results):
        raise SystemExit(code)


def _check_cluster(
    cluster: str | None,
    *,
    jobs: int | None,
    stop: bool,
    wait_for_nodes: bool,
    pins: tuple[str, ...],
) -> None:
    from envbuilder.model.errors import UsageError

    if cluster is None and (stop or wait_for_nodes):
        raise UsageError("--stop and --wait-for-nodes are about jobs of a cluster: add --cluster")
    if cluster is not None and jobs is not None:
        raise UsageError(
            "--jobs is for this machine: a cluster runs as many as it has room for",
            hint="leave --jobs out",
        )
    if stop and pins:
        raise UsageError("--stop ends jobs, and bumps nothing: leave --bump out")


def _here(
    context: Context,
    paths: list[Path],
    pins: tuple[str, ...],
    jobs: int | None,
    runtime: str,
    *,
    allow_unproven: bool,
) -> tuple[Result, ...]:
    from envbuilder.runtime import choose
    from envbuilder.workflow.bump.regenerate import jobs_for, maker, regenerate

    chosen = choose(runtime, context.store)
    make = maker(context, pins, runtime=chosen, allow_unproven=allow_unproven)
    return regenerate(paths, make, jobs=jobs or jobs_for(paths), stop=context.stop)


def _making(
    context: Context, jobs: Jobs, pins: tuple[str, ...], *, stop: bool, allow_unproven: bool
) -> Make:
    from envbuilder.workflow.cluster.make import maker, stopper

    if stop:
        return stopper(context, jobs)
    return maker(context, jobs, pins, allow_unproven=allow_unproven)


def _paths(names: tuple[str, ...], files: tuple[Path, ...], *, everything: bool) -> list[Path]:
    from envbuilder.model.errors import UsageError

    if bool(names or files) == everything:
        raise UsageError("expected NAMEs or --file PATH, or --all")
    if everything:
        names = tuple(sorted(path.stem for path in options.FOLDER.glob("*.yaml")))
    if not names and not files:
        raise UsageError(
            f"{options.FOLDER}/ holds no specs", hint="envbuilder init NAME writes one"
        )
    named = [options.spec_path(name, None) for name in names]
    return [*named, *(options.spec_path(None, path) for path in files)]


def _print(results: tuple[Result, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    from .console import stdout

    table = Table(box=None, pad_edge=False, show_header=False)
    for each in results:
        verdict = Text("good", "green") if each.code == 0 else Text(f"exit {each.code}", "bold red")
        table.add_row(Text(each.name), verdict, f"{each.seconds:.1f} s", Text(each.message))
    stdout().print(table)
