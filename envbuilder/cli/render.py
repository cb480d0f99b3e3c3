"""``envbuilder render``: the lock as a Dockerfile that stands alone."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("render")
@options.environment
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write; docker/NAME if left out.",
)  # fmt: skip
def command(name: str | None, file: Path | None, folder: Path | None) -> None:
    """Write NAME's lock as a Dockerfile with all that it needs; plain Docker builds it.

    The folder is new, empty, or rendered before: then its files are replaced, and yours beside
    them stay.
    """
    from envbuilder.engines.given_archives import copy_archives
    from envbuilder.engines.given_wheels import copy_given, given_paths
    from envbuilder.engines.own_files import copy_files
    from envbuilder.engines.render import render, write
    from envbuilder.engines.standalone import copy_archive, python_archive
    from envbuilder.model.pylock import check_fresh, lock_path, read_lock
    from envbuilder.model.spec_file import load
    from envbuilder.resolve.own_files import check_files
    from envbuilder.storage.store import Store

    path = options.spec_path(name, file)
    lock = read_lock(lock_path(path))
    check_fresh(lock, load(path), name=path.stem)
    check_files(lock, path.parent)
    target = folder or Path("docker") / lock.spec.name
    write(render(lock), target)
    if given_paths(lock):
        copy_given(lock, target, store=Store.default())
    if python_archive(lock):
        copy_archive(lock, target, store=Store.default())
    if lock.files:
        copy_files(lock, target, store=Store.default())
    copy_archives(lock, target, store=Store.default())
    click.echo(f"{target}/Dockerfile")
    click.echo(f"hint: cd {target} && docker buildx bake", err=True)
