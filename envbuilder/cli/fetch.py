"""``envbuilder fetch``: bring all locked artifacts into the store, and wheels into a folder."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("fetch")
@options.environment
@click.option(
    "--wheels/--no-wheels", default=True, show_default=True,
    help="Also write the wheels beside the lock, where pip and uv look for them.",
)  # fmt: skip
@options.progress
def command(name: str | None, file: Path | None, wheels: bool, progress_mode: str) -> None:
    """Bring every artifact of NAME's lock into the store, hashed.

    Afterwards `envbuilder build --offline NAME` needs no network. The wheels are also written to
    wheels/ beside the lock, from where `uv pip sync` and `pip install -r` of the lock take them.
    """
    from envbuilder.layers.complement import wheel_file
    from envbuilder.layers.store import Store
    from envbuilder.lock_file import lock_path, read_lock
    from envbuilder.pipeline import Options, fetch

    from .console import open_progress

    path = options.spec_path(name, file)
    lock = read_lock(lock_path(path))
    store = Store.default()
    with open_progress(progress_mode) as progress:
        fetch(lock, store=store, progress=progress, options=Options(locked=True))
        if wheels:
            folder = path.parent / "wheels"
            folder.mkdir(exist_ok=True)
            total = sum(wheel.size for wheel in lock.wheels)
            with progress.step("write", str(folder), total=total) as step:
                for wheel in lock.wheels:
                    with wheel_file(store, wheel.sha256) as source:
                        _place(source, folder / wheel.filename)
                    step.advance(wheel.size)
    click.echo(f"{len(lock.wheels)} wheels are in the store" + (f" and {folder}" if wheels else ""))


def _place(source: Path, target: Path) -> None:
    """Put a file in place at once: linked on the same file system, else copied."""
    import os
    import shutil

    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)
