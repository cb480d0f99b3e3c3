"""``envbuilder build``: the main job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.spec_words import Compression
    from envbuilder.workflow.build import BuildResult
    from envbuilder.workflow.platforms import PlatformsBuilt


@click.command("build")
@options.environment
@click.option("--locked", is_flag=True, help="Fail rather than write or change the lock.")
@options.offline
@click.option("--no-smoke", is_flag=True, help="Build only; the ledger gets no entry.")
@click.option(
    "--check-reproducible", is_flag=True,
    help="Build what comes from git once more, and list the files that differ.",
)  # fmt: skip
@click.option("--reseal", is_flag=True, help="Accept an image that differs from the sealed one.")
@options.engine("What builds the image; both make the same tree.")
@options.builder
@options.runtime("the smoke test")
@click.option(
    "--output-image", metavar="TARGET", help="Also write the image to oci:DIR or PATH.tar."
)
@options.report
@click.option(
    "--push", "push_to", metavar="REF", help="Then push to HOST/NAME:TAG, unless the smoke is red. "
    "With --no-smoke, layers that are there already are not made.",
)  # fmt: skip
@options.signer
@options.compression
@options.allow_unproven
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
    engine: str,
    builder: str | None,
    runtime: str,
    output_image: str | None,
    report: tuple[Path, ...],
    push_to: str | None,
    signer: options.SignerOptions,
    compression: Compression | None,
    allow_unproven: bool,
    output: str,
    progress_mode: str,
) -> None:
    """Lock NAME if it has no lock, assemble its image, smoke it, seal the lock, record the build.

    Of several platforms all are built, and an index lists their images: that is what is pushed.

    Exits with 8 when the smoke test fails, or leaves unproven what it was asked: the image stays,
    but is not marked good.
    """
    from envbuilder.engines import source_wheels
    from envbuilder.model.reference import ImageRef
    from envbuilder.model.spec_file import platforms_at
    from envbuilder.runtime import choose
    from envbuilder.workflow.build import Decisions
    from envbuilder.workflow.export import export_image
    from envbuilder.workflow.make import reuse_at
    from envbuilder.workflow.platforms import build_platforms, lock_paths
    from envbuilder.workflow.publish_platforms import (
        keep_published,
        publish_platforms,
        with_form,
    )

    from .context import open_context
    from .next_steps import print_next

    _check_travel(push_to, output_image, signed=any(signer.values()), compression=compression)
    if report and no_smoke:
        raise click.UsageError("--report tells of the smoke, which --no-smoke leaves out")
    _check_targets(report, output_image)
    path = options.spec_path(name, file)
    if output_image is not None and len(platforms_at(path)) > 1:
        raise click.UsageError("--output-image writes one image, and the spec names several")
    target = None if push_to is None else ImageRef.parse(push_to)
    signing = options.signing_of(signer)
    started = time.monotonic()
    with open_context(progress_mode, offline=offline, builder=builder) as context:
        built = build_platforms(
            context,
            path,
            Decisions(engine=engine, locked=locked, reseal=reseal),
            runtime=None if no_smoke else choose(runtime, context.store),
            reuse=lambda platform: reuse_at(
                context,
                path,
                target if no_smoke and output_image is None else None,
                compression=compression,
                platform=platform,
            ),
        )
        _write_reports(built, report)  # first of all: what follows may fail
        locks = built.locks
        for lock in locks.values() if check_reproducible else ():
            source_wheels.check_reproducible(context, lock, engine=engine)
        if output_image is not None:
            ((platform, part),) = built.parts.items()
            form = export_image(
                context, part.lock, part.image, output_image, compression=compression
            )
            locks = {platform: with_form(part.lock, form)}
        good = no_smoke or built.passes(allow_unproven=allow_unproven)
        if target is not None and good:
            _, locks = publish_platforms(
                context, locks, target, signing=signing, compression=compression
            )
        keep_published(context, lock_paths(path), built.locks, locks, locked=locked)
    if output == "json":
        options.print_json(_plain(built))
    else:
        _show(built, seconds=time.monotonic() - started)
        sent = push_to if good else None
        print_next(
            path, store=context.store.root, exported=output_image, pushed=sent, good=good,
            several=built.index is not None,
        )  # fmt: skip
    if not good:
        raise SystemExit(8)


def _check_travel(
    push_to: str | None,
    output_image: str | None,
    *,
    signed: bool,
    compression: Compression | None,
) -> None:
    """Refuse options that say how the image travels where it does not."""
    if signed and push_to is None:
        raise click.UsageError("--key and --keyless sign what --push sends: add --push REF")
    if compression is not None and push_to is None and output_image is None:
        raise click.UsageError("--compression is of what travels: add --push or --output-image")


def _check_targets(reports: tuple[Path, ...], output_image: str | None) -> None:
    """Refuse at once what would otherwise be refused after the build."""
    from envbuilder.registry.layout import check_target

    from .report import check_targets

    check_targets(reports)
    if output_image is not None:
        check_target(output_image)


def _write_reports(built: PlatformsBuilt, paths: tuple[Path, ...]) -> None:
    """Write the report of each platform; those of further ones say in their name whose they are."""
    from envbuilder.smoke.layer_sizes import layer_sizes

    from .report import named_for, write_reports

    for platform, part in built.parts.items():
        if part.report is not None:
            layers = layer_sizes(part.image.layers, part.lock)
            write_reports(part.report, named_for(platform, paths), layers=layers)


def _plain(built: PlatformsBuilt) -> dict[str, object]:
    if built.index is None:
        ((_, only),) = built.parts.items()
        return _summary(only)
    first = next(iter(built.locks.values()))
    return {
        "name": first.spec.name,
        "index": str(built.index.digest),
        "good": built.good,
        "platforms": {str(each): _summary(part) for each, part in built.parts.items()},
    }


def _summary(outcome: BuildResult) -> dict[str, object]:
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


def _show(built: PlatformsBuilt, *, seconds: float) -> None:
    from .console import size_text
    from .report import print_report

    for platform, part in built.parts.items():
        if part.report is not None:
            print_report(part.report)
        layers = part.image.layers
        size = size_text(sum(layer.size for layer in layers))
        click.echo(f"image  {part.image.digest}")
        made = f"for {platform}" if platform is not None else f"in {seconds:.1f} s"
        click.echo(f"       {len(layers)} layers, {size}, {made}")
        if part.report is None:
            click.echo("       not smoked, so not known to be good")
    if built.index is not None:
        click.echo(f"index  {built.index.digest}")
        click.echo(f"       of {len(built.parts)} images, in {seconds:.1f} s")
