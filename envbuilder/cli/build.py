"""``envbuilder build``: the main job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.pipeline import Outcome


@click.command("build")
@options.environment
@click.option("--locked", is_flag=True, help="Fail rather than write or change the lock.")
@click.option("--offline", is_flag=True, help="Use what the store has; never the network.")
@click.option("--no-smoke", is_flag=True, help="Build only; the ledger gets no entry.")
@click.option(
    "--check-reproducible", is_flag=True,
    help="Build what comes from git once more, and list the files that differ.",
)  # fmt: skip
@click.option("--reseal", is_flag=True, help="Accept an image that differs from the sealed one.")
@click.option(
    "--runtime", type=click.Choice(["auto", "docker", "oci"]), default="auto", show_default=True,
    help="What runs the smoke test.",
)  # fmt: skip
@click.option(
    "--output-image", metavar="TARGET", help="Also write the image to oci:DIR or PATH.tar."
)
@click.option("--report", type=click.Path(path_type=Path), help="Write the smoke report: "
              "*.html, *.json or *.xml (JUnit). Repeatable.", multiple=True)  # fmt: skip
@options.output
@options.progress
def command(
    name: str | None,
    file: Path | None,
    locked: bool,
    offline: bool,
    no_smoke: bool,
    check_reproducible: bool,
    reseal: bool,
    runtime: str,
    output_image: str | None,
    report: tuple[Path, ...],
    output: str,
    progress_mode: str,
) -> None:
    """Lock NAME if it has no lock, assemble its image, smoke it, seal the lock, record the build.

    Exits with 8 when the smoke test fails: the image stays, but is not marked good.
    """
    from envbuilder import wheels
    from envbuilder.layers.store import Store
    from envbuilder.layout import export
    from envbuilder.pipeline import Options, build_environment
    from envbuilder.runtime import choose

    from .console import open_progress
    from .report import check_targets, print_report, write_reports

    check_targets(report)
    path = options.spec_path(name, file)
    started = time.monotonic()
    store = Store.default()
    chosen = None if no_smoke else choose(runtime, store)
    with open_progress(progress_mode) as progress:
        outcome = build_environment(
            path,
            store=store,
            progress=progress,
            options=Options(locked=locked, offline=offline, reseal=reseal),
            runtime=chosen,
        )
        if check_reproducible:
            wheels.check_reproducible(
                outcome.lock, store=store, progress=progress, offline=offline
            )
        if output_image is not None:
            reference = f"{outcome.lock.spec.name}:latest"
            export(outcome.image, store, output_image, name=reference, progress=progress)
    if outcome.report is not None:
        write_reports(outcome.report, report)
    if output == "json":
        options.print_json(_summary(outcome))
    else:
        if outcome.report is not None:
            print_report(outcome.report)
        _print_image(outcome, seconds=time.monotonic() - started)
    if outcome.report is not None and not outcome.report.ok:
        raise SystemExit(8)


def _summary(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.lock.spec.name,
        "image": str(outcome.image.digest),
        "config": str(outcome.image.config_digest),
        "good": outcome.good,
        "layers": [
            {"title": layer.title, "digest": str(layer.digest), "size": layer.size}
            for layer in outcome.image.layers
        ],
        "smoke": None if outcome.report is None else outcome.report.to_dict(),
    }


def _print_image(outcome: Outcome, *, seconds: float) -> None:
    from .console import size_text

    layers = outcome.image.layers
    size = size_text(sum(layer.size for layer in layers))
    click.echo(f"image  {outcome.image.digest}")
    click.echo(f"       {len(layers)} layers, {size}, in {seconds:.1f} s")
    if outcome.report is None:
        click.echo("       not smoked, so not known to be good")
