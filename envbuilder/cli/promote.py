"""``envbuilder promote``: a registry's tag moves to a known-good image."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("promote")
@options.environment
@click.argument("ref", required=False)
@click.argument("entry", required=False)
@options.signer
@options.output
@options.progress
def command(
    name: str | None,
    file: Path | None,
    ref: str | None,
    entry: str | None,
    signer: options.SignerOptions,
    output: str,
    progress_mode: str,
) -> None:
    """Let REF (HOST/NAME:TAG) name the image of NAME, or that of ENTRY.

    It is the present lock's if that is known to be good, else the last good one; the newest smoke
    of an image decides. ENTRY is a number of `envbuilder history`, or the start of an image's or
    a lock's checksum. An image that the registry has already is not sent again. With --key or
    --keyless, signed provenance, bill of materials and smoke result lie beside the image before
    the tag moves.
    """
    from envbuilder.model.errors import UsageError
    from envbuilder.model.reference import ImageRef
    from envbuilder.storage.ledger import choose, ledger_path, read
    from envbuilder.workflow.bump.promote import promote

    from .context import open_context

    if file is not None:
        name, ref, entry = None, name, ref
    path = options.spec_path(name, file)
    if ref is None:
        raise UsageError("expected REF", hint="HOST/NAME:TAG")
    target = ImageRef.parse(ref)
    signing = options.signing_of(signer)
    entries, _ = read(ledger_path(path))
    wanted = None if entry is None else choose(entries, entry)
    with open_context(progress_mode) as context:
        promoted = promote(context, path, wanted, target, signing=signing)
    if output == "json":
        options.print_json({"reference": str(target), "digest": str(promoted.image)})
    else:
        click.echo(f"promoted  {target.at(promoted.image)}")
        number = entries.index(promoted) + 1
        click.echo(f"          as {target}: entry {number} of the history, of {promoted.time}")
