"""``envbuilder wheels``: what was built from git, on its way between machines."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.group("wheels")
def command() -> None:
    """Build the wheels of git sources, and carry them between machines."""


@command.command("build")
@options.environment
@options.offline
@options.engine("What builds them: containers of ours, or BuildKit.")
@options.builder
@options.progress
def build(
    name: str | None,
    file: Path | None,
    offline: bool,
    engine: str,
    builder: str | None,
    progress_mode: str,
) -> None:
    """Build the wheels of NAME's git sources, and note their hashes in its lock."""
    from envbuilder.engines.source_wheels import with_wheels
    from envbuilder.model.pylock import lock_path, read_lock, write_lock

    from .context import open_context

    path = lock_path(options.spec_path(name, file))
    lock = read_lock(path)
    with open_context(progress_mode, offline=offline, builder=builder) as context:
        made = with_wheels(context, lock, engine=engine)
    if made != lock:
        write_lock(path, made)
    for source in made.sources:
        if source.wheel is not None:
            click.echo(f"{source.wheel.sha256}  {source.wheel.filename}")


@command.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.environment
def export(folder: Path, name: str | None, file: Path | None) -> None:
    """Write the wheels built for NAME, each with its recipe, to DIR."""
    from envbuilder.model.pylock import lock_path, read_lock
    from envbuilder.resolve.git.transfer import export_wheels
    from envbuilder.storage.store import Store

    lock = read_lock(lock_path(options.spec_path(name, file)))
    for path in export_wheels(lock, folder, store=Store.default()):
        click.echo(path)


@command.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def import_(folder: Path) -> None:
    """Take the wheels that `wheels export` wrote to DIR into the store."""
    from envbuilder.resolve.git.transfer import import_wheels
    from envbuilder.storage.store import Store

    for wheel in import_wheels(folder, store=Store.default()):
        click.echo(f"{wheel.sha256}  {wheel.filename}")
