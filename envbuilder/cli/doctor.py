"""``envbuilder doctor``: what this machine can and cannot do."""

from __future__ import annotations

from pathlib import Path

import click

from envbuilder.errors import SpecError
from envbuilder.reference import ImageRef

from . import options

_STYLES = {"ok": "green", "warn": "yellow", "missing": "red"}


@click.command("doctor")
@click.option(
    "--lockfiles", type=click.Path(path_type=Path, file_okay=False), default=options.FOLDER,
    show_default=True, help="Also ask the registries of the base images that these specs name.",
)  # fmt: skip
@options.output
def command(lockfiles: Path, output: str) -> None:
    """Look at engines, runtimes, GPU, disk, tools and indexes; each line is ok or says what to do.

    Exits with 6 when something that `envbuilder build` needs is missing.
    """
    from dataclasses import asdict

    from envbuilder.doctor import examine
    from envbuilder.layers.store import Store

    findings = examine(Store.default(), images=_base_images(lockfiles))
    if output == "json":
        options.print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            status = click.style(f"{finding.status:<7}", fg=_STYLES[finding.status])
            click.echo(f"{status} {finding.name:<18} {finding.detail}")
            if finding.advice:
                click.echo(f"{'':<27}{finding.advice}")
    if any(finding.status == "missing" for finding in findings):
        raise SystemExit(6)


def _base_images(folder: Path) -> list[ImageRef]:
    from envbuilder.spec_file import load

    images = set()
    for path in sorted(folder.glob("*.yaml")):
        try:
            image = load(path).base.image
        except SpecError as error:
            click.echo(f"warning: {error.message}", err=True)
            continue
        if image is not None:
            images.add(ImageRef.parse(image))
    return sorted(images, key=str)
