"""``envbuilder push``: an image goes to a registry, with evidence."""

from __future__ import annotations

import click

from . import options


@click.command("push")
@click.argument("name")
@click.argument("ref")
@click.option(
    "--key", metavar="KEY", help="Sign evidence with this private key: a file or env://NAME."
)
@click.option("--bundles", is_flag=True, help="Attach evidence as Sigstore bundles (cosign 3).")
@options.output
@options.progress
def command(
    name: str,
    ref: str,
    key: str | None,
    bundles: bool,
    output: str,
    progress_mode: str,
) -> None:
    """Push the built image of NAME (or of the lock at that path) to REF (HOST/NAME:TAG).

    Only what the registry lacks travels: by digest first, then signed provenance, bill of
    materials and smoke result (with --key), and the tag last.
    """
    from envbuilder.layers.store import Store
    from envbuilder.lock_file import read_lock
    from envbuilder.publish import publish, signing_with
    from envbuilder.reference import ImageRef
    from envbuilder.registry.client import Client

    from .console import open_progress

    lock = read_lock(options.named_lock(name))
    target = ImageRef.parse(ref)
    signing = signing_with(key, bundles=bundles)
    with open_progress(progress_mode) as progress, Client.from_environment() as client:
        digest = publish(
            client, lock, target, store=Store.default(), progress=progress, signing=signing
        )
    if output == "json":
        options.print_json({"reference": str(target), "digest": str(digest), "signed": bool(key)})
    else:
        click.echo(f"pushed  {target.at(digest)}")
        if key is not None:
            click.echo("        with signed evidence")
