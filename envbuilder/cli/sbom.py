"""``envbuilder sbom``: what an image consists of, for scanners."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.evidence.bill import Bill
    from envbuilder.resolve.context import Context


@click.command("sbom")
@click.argument("target", metavar="NAME|IMAGE", shell_complete=options.complete_names)
@click.option("-o", "--output", "file", type=click.Path(path_type=Path, dir_okay=False),
    help="Write it here, not to stdout.")  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["cyclonedx", "spdx"]), default="cyclonedx",
    show_default=True, help="CycloneDX 1.6 or SPDX 2.3, as JSON.",
)  # fmt: skip
@options.platform("an image")
@options.progress
def command(target: str, file: Path | None, form: str, platform: str, progress_mode: str) -> None:
    """Write the bill of materials of NAME's built image, or of any IMAGE.

    Of a NAME (or the path of a lock) the lock tells the packages, by hash; their licences and
    sources are read in the store. Of an IMAGE (oci:DIR, PATH.tar, docker:NAME, HOST/NAME:TAG) all
    layers are read; one of ours carries its lock.
    """
    from envbuilder.evidence.bill import unlicensed

    from .context import open_context

    with open_context(progress_mode) as context:
        bill = _bill(context, target, platform)
        if unknown := unlicensed(bill):
            named = ", ".join(unknown[:5]) + (" …" if unknown[5:] else "")
            context.progress.note(f"no licence is known of {len(unknown)} packages: {named}")
    _write(bill, form, file)


def _bill(context: Context, target: str, platform: str) -> Bill:
    from envbuilder.model.pylock import read_lock
    from envbuilder.registry.open_image import open_image
    from envbuilder.storage.ledger import built_on, ledger_path, read
    from envbuilder.workflow.sbom import bill_of_environment, bill_of_opened

    path = options.lock_or_image(target, platform)
    if path is not None:
        lock = read_lock(path)
        entries, _ = read(ledger_path(path.with_name(f"{lock.spec.name}.yaml")))
        built = built_on(entries, lock.seal.images) if lock.seal is not None else None
        return bill_of_environment(context, lock, built=built)
    opening = open_image(target, platform, store=context.store, registries=context.registries)
    with opening as opened:
        return bill_of_opened(context, opened)


def _write(bill: Bill, form: str, file: Path | None) -> None:
    from envbuilder.evidence.sbom import cyclonedx
    from envbuilder.evidence.spdx import spdx
    from envbuilder.model.atomic import write_text

    text = options.json_text(cyclonedx(bill) if form == "cyclonedx" else spdx(bill))
    if file is None:
        click.echo(text)
    else:
        write_text(file, text.decode() + "\n")
