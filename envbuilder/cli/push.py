"""``envbuilder push``: an image goes to a registry, with evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.spec_words import Compression


@click.command("push")
@click.argument("name", shell_complete=options.complete_names)
@click.argument("ref", shell_complete=options.complete_refs)
@options.signer
@click.option("--bundles", is_flag=True, help="Attach evidence as Sigstore bundles (cosign 3); "
    "without it, as tags or bundles, like what is there.")  # fmt: skip
@options.compression
@options.output
@options.progress
def command(
    name: str,
    ref: str,
    signer: options.SignerOptions,
    bundles: bool,
    compression: Compression | None,
    output: str,
    progress_mode: str,
) -> None:
    """Push the built image of NAME (or of the lock at that path) to REF (HOST/NAME:TAG).

    Of several platforms the index goes there, and the image of each, which it lists.

    Only what the registry lacks travels: by digest first, then signed provenance, bill of
    materials and smoke result (with --key or --keyless), and the tag last. A form other than gzip
    is made once, and listed in the lock's seal.
    """
    from envbuilder.model.pylock import read_lock
    from envbuilder.model.reference import ImageRef
    from envbuilder.storage.ledger import built_on, ledger_path, read
    from envbuilder.workflow.publish_platforms import keep_published, publish_platforms

    from .context import open_context

    options.refuse_word(ref)
    paths = options.named_locks(name)
    locks = {each: read_lock(path) for each, path in paths.items()}
    target = ImageRef.parse(ref)
    signing = options.signing_of(signer, bundles=bundles or None)
    path, lock = next(iter(paths.values())), next(iter(locks.values()))
    entries, _ = read(ledger_path(path.with_name(f"{lock.spec.name}.yaml")))
    built = built_on(entries, lock.seal.images) if lock.seal is not None else None
    with open_context(progress_mode) as context:
        pushed, known = publish_platforms(
            context, locks, target, signing=signing, built=built, compression=compression
        )
        keep_published(context, paths, locks, known)
    if output == "json":
        body = {"reference": str(target), "digest": str(pushed.digest)}
        options.print_json({**body, "evidence": list(pushed.evidence)})
    else:
        click.echo(f"pushed  {target.at(pushed.digest)}")
        if pushed.evidence:
            click.echo(f"        with signed evidence: {', '.join(pushed.evidence)}")
