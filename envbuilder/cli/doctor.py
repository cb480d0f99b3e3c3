"""``envbuilder doctor``: what this machine can and cannot do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuilder.model.errors import SpecError, UsageError
from envbuilder.model.reference import ImageRef

from . import options

if TYPE_CHECKING:
    from envbuilder.workflow.doctor import Diagnosis

_STYLES = {"ok": "green", "warn": "yellow", "missing": "red"}


_EXAMPLES = {
    "--driver": "the driver's version, as nvidia-smi shows it: --driver 550.54.14",
    "--gpu": "the compute capability: --gpu 8.0 for an A100, --gpu 9.0 for an H100",
}


@click.command("doctor")
@click.argument("name", required=False)
@click.option(
    "--driver", metavar="VERSION", help="With NAME: judge for a host with this NVIDIA driver."
)
@click.option(
    "--gpu", "devices", metavar="CAPABILITY", multiple=True,
    help="With NAME: judge for a GPU of this compute capability, like 9.0. Repeatable.",
)  # fmt: skip
@options.lockfiles("Also ask the registries of the base images that these specs name.")
@options.output
@options.progress
def command(
    name: str | None,
    driver: str | None,
    devices: tuple[str, ...],
    lockfiles: Path,
    output: str,
    progress_mode: str,
) -> None:
    """Look at engines, runtimes, GPU, disk, tools and indexes; each line is ok or says what to do.

    With NAME (an environment, or the path of a lock): say instead which driver and which GPUs its
    lock needs, and whether this host has them, or the one that --driver and --gpu describe.

    Exits with 6 when something that `envbuilder build`, or NAME, needs is missing.
    """
    from dataclasses import asdict

    from envbuilder.workflow.doctor import examine

    from .context import open_context

    if name is not None:
        findings = _preflight(name, driver, devices, progress_mode)
    elif driver is not None or devices:
        raise UsageError(
            "--driver and --gpu describe a host for NAME", hint="envbuilder doctor NAME"
        )
    else:
        with open_context(progress_mode) as context:
            images = _base_images(lockfiles)
            findings = examine(context, images=images)
    if output == "json":
        options.print_json([asdict(finding) for finding in findings])
    else:
        width = max(18, *(len(finding.name) for finding in findings))
        for finding in findings:
            status = click.style(f"{finding.status:<7}", fg=_STYLES[finding.status])
            click.echo(f"{status} {finding.name:<{width}} {finding.detail}")
            if finding.advice:
                click.echo(f"{'':<{width + 9}}{finding.advice}")
    if any(finding.status == "missing" for finding in findings):
        raise SystemExit(6)


def _preflight(
    name: str, driver: str | None, devices: tuple[str, ...], progress_mode: str
) -> tuple[Diagnosis, ...]:
    from envbuilder.model.pylock import read_lock
    from envbuilder.workflow.gpu.needs import needs
    from envbuilder.workflow.gpu.preflight import GpuHost, preflight, this_host

    from .context import open_context

    given = [("--gpu", text) for text in devices]
    given += [] if driver is None else [("--driver", driver)]
    for option, text in given:
        if re.fullmatch(r"\d+(\.\d+){1,2}", text) is None:
            raise UsageError(f"{option}: {text!r} is no version", hint=_EXAMPLES[option])
    described = GpuHost(driver=driver, devices=devices)
    host = this_host() if described == GpuHost() else described
    lock = read_lock(options.named_lock(name))
    with open_context(progress_mode) as context:
        return preflight(needs(context, lock), host)


def _base_images(folder: Path) -> list[ImageRef]:
    from envbuilder.model.spec_file import load_each

    images = set()
    for path in sorted(folder.glob("*.yaml")):
        try:
            image = next(iter(load_each(path).values())).base.image
        except SpecError as error:
            click.echo(f"warning: {error.message}", err=True)
            continue
        if image is not None:
            images.add(ImageRef.parse(image))
    return sorted(images, key=str)
