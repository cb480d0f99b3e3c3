"""``envbuilder rollback``: back to a build that was known to be good."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("rollback")
@options.environment
@click.argument("entry", required=False)
@click.option("--force", is_flag=True, help="Give up changes that neither git nor the store holds.")
@click.option("--red", is_flag=True, help="Also to a build that was red, to look into it.")
@options.output
def command(
    name: str | None, file: Path | None, entry: str | None, force: bool, red: bool, output: str
) -> None:
    """Restore spec and lock of NAME as of ENTRY, or of the last good build before this one.

    ENTRY is a number of `envbuilder history`, or the start of an image's or a lock's checksum.
    Nothing else in the tree is touched; nothing is committed.
    """
    from envbuilder.storage.ledger import choose, ledger_path, read
    from envbuilder.storage.store import Store
    from envbuilder.workflow.bump.rollback import rollback

    if file is not None and name is not None:
        entry, name = name, None
    path = options.spec_path(name, file)
    entries, _ = read(ledger_path(path))
    wanted = None if entry is None else choose(entries, entry)
    restored = rollback(path, wanted, store=Store.default(), force=force, red=red)
    if output == "json":
        options.print_json({"time": restored.time, "image": str(restored.image)})
    else:
        click.echo(f"back to the build of {restored.time}")
        click.echo(f"image  {restored.image}")
