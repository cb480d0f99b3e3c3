"""``envbuilder fetch``: bring all locked artifacts into the store, and files beside the lock."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.lock import Lock
    from envbuilder.model.reference import Digest
    from envbuilder.resolve.context import Context
    from envbuilder.storage.store import Store


@click.command("fetch")
@options.environment
@click.option(
    "--wheels/--no-wheels", default=True, show_default=True,
    help="Also copy the wheels beside the lock, where uv and pip look for them.",
)  # fmt: skip
@options.progress
def command(name: str | None, file: Path | None, wheels: bool, progress_mode: str) -> None:
    """Bring every artifact of NAME's lock into the store, hashed.

    Afterwards `envbuilder build --offline NAME` needs no network. The wheels are also copied to
    wheels/ beside the lock, and the sdists to sdists/, where they take their size once more: `uv
    pip sync` of the lock takes them from there.
    """
    from envbuilder.model.pylock import check_fresh, lock_path, read_lock
    from envbuilder.model.spec_file import load_each
    from envbuilder.resolve.own_files import take_files
    from envbuilder.workflow.make import fetch

    from .context import open_context

    path = options.spec_path(name, file)
    locks = []
    for platform, spec in load_each(path).items():
        locks.append(read_lock(lock_path(path, platform)))
        check_fresh(locks[-1], spec, name=path.stem)
    with open_context(progress_mode) as context:
        for lock in locks:
            take_files(context, lock, path.parent)
            fetch(context, lock)
            if wheels:
                _copy_wheels(context, lock, path.parent / "wheels")
                _copy_sdists(context.store, lock, path.parent)
    count = len({wheel.sha256 for lock in locks for wheel in lock.wheels})
    place = f" and {path.parent / 'wheels'}" if wheels else ""
    click.echo(f"{count} wheels are in the store{place}")


def _copy_wheels(context: Context, lock: Lock, folder: Path) -> None:
    from envbuilder.layers.wheel_reconstruction import wheel_file

    total = sum(wheel.size for wheel in lock.wheels)
    with context.progress.step("write", str(folder), total=total) as step:
        for wheel in lock.wheels:
            target = folder / wheel.filename
            if not _holds(target, wheel.sha256):
                with wheel_file(context.store, wheel.sha256) as source:
                    _copy(source, target)
            step.advance(wheel.size)


def _copy_sdists(store: Store, lock: Lock, folder: Path) -> None:
    """Copy the sdists to where the lock says that they lie, unless the spec says where."""
    from envbuilder.resolve.archives.supply import FOLDER

    for source in lock.archives:
        pin = lock.spec.archives.get(lock.spec.key_of(source.name) or "")
        target = folder / FOLDER / source.filename
        if (pin is None or pin.path is None) and not _holds(target, source.sha256):
            _copy(store.checked(source.sha256), target)


def _holds(path: Path, digest: Digest) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest.hex
    except FileNotFoundError:
        return False


def _copy(source: Path, target: Path) -> None:
    """Copy a file; never a link to the store, which a later write to the copy would reach."""
    from envbuilder.model.atomic import replacing

    with source.open("rb") as data, replacing(target) as file:
        shutil.copyfileobj(data, file, 1 << 20)
