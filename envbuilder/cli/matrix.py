"""``envbuilder matrix``: one spec for each combination of pins."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("matrix")
@options.environment
@click.option(
    "--axis", "axes", multiple=True, required=True, metavar="'[LABEL:]PIN[&PIN...] ...'",
    help="Values of which each variant gets one. Repeatable: axes multiply.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over specs that are there and differ.")
@options.output
def command(
    name: str | None, file: Path | None, axes: tuple[str, ...], force: bool, output: str
) -> None:
    """Write the variants of NAME beside it, for example with

    \b
      --axis 'python=3.11 python=3.12' --axis 'torch==2.6.0 torch==2.7.0'

    which gives NAME-python-3-11-torch-2-6-0.yaml and three more; or, where pins go together and
    shall have a short name, with

    \b
      --axis 'py311:python=3.11&base=bookworm py313:python=3.13&base=trixie'

    `envbuilder regenerate` builds them.
    """  # noqa: D301, D400 - click's layout
    from envbuilder.model.atomic import write_text
    from envbuilder.model.errors import UsageError
    from envbuilder.model.yaml_document import read_document
    from envbuilder.workflow.bump.matrix import expand
    from envbuilder.workflow.bump.stages import real_stages

    from .context import open_context

    path = options.spec_path(name, file)
    with open_context("quiet") as context:
        refs = real_stages(context, folder=path.parent).refs
        variants = expand(read_document(path), [axis.split() for axis in axes], refs=refs)
    targets = [path.with_name(f"{variant.name}.yaml") for variant in variants]
    for target, variant in zip(targets, variants, strict=True):
        there = target.read_bytes() if target.exists() else None
        if there not in {None, variant.document.text.encode()} and not force:
            raise UsageError(f"{target} is there and differs", hint="--force writes over it")
    for target, variant in zip(targets, variants, strict=True):
        write_text(target, variant.document.text)
    if output == "json":
        options.print_json([str(target) for target in targets])
    else:
        click.echo("\n".join(str(target) for target in targets))
