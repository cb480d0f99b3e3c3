"""``envbuilder lock``: resolve a spec, or check that its lock is fresh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.lock import Lock


@click.command("lock")
@options.environment
@click.option("--check", is_flag=True, help="Only tell whether the lock is of this spec.")
@click.option("--all", "everything", is_flag=True, help="With --check: every spec in lockfiles/.")
@click.option("--upgrade", is_flag=True, help="Let go of every pin that the spec does not hold.")
@click.option(
    "--upgrade-package", "release", multiple=True, metavar="PACKAGE",
    help='Let go of one package, or of "system" (the base and its packages). Repeatable.',
)  # fmt: skip
@options.builder
@click.option("--dry-run", is_flag=True, help="Check the spec and show it; ask no index.")
@options.progress
def command(
    name: str | None,
    file: Path | None,
    check: bool,
    everything: bool,
    upgrade: bool,
    release: tuple[str, ...],
    builder: str | None,
    dry_run: bool,
    progress_mode: str,
) -> None:
    """Resolve NAME's spec and pin every artifact by hash in pylock.NAME.toml.

    Of several platforms, each has a lock of its own, and all are written or none.

    Pins that nothing forces to change stay as they were. --check asks no index: it compares the
    spec, and the files and folders that it names, with what is locked, and exits with 5 if they
    differ. With --all it goes through all specs to the end; the exit code is that of the worst.
    """
    from envbuilder.model.errors import UsageError
    from envbuilder.model.pylock import lock_path
    from envbuilder.model.samples import check_samples
    from envbuilder.model.spec_file import load_each, platforms_at
    from envbuilder.resolve.release import EVERYTHING
    from envbuilder.workflow.lock import current_locks, lock_platforms

    from .context import open_context

    if [check, dry_run, upgrade, bool(release)].count(True) > 1:
        raise UsageError(
            "expected one of --check, --dry-run, --upgrade and --upgrade-package, not several"
        )
    if everything:
        if not check or name is not None or file is not None:
            raise UsageError("--all goes with --check alone", hint="envbuilder lock --check --all")
        _check_all(progress_mode)
        return
    path = options.spec_path(name, file)
    specs = load_each(path) if dry_run else {}
    for spec in specs.values():
        check_samples(spec, path.parent)
        count = f"{len(spec.requirements)} from indexes, {len(spec.sources)} from git"
        if placed := len(spec.direct) + len(spec.archives):
            count += f", {placed} by address or path"
        click.echo(f"{path} is a valid spec: {spec.platform}, Python {spec.python}; {count}")
    if dry_run:
        return
    if check:
        with open_context(progress_mode) as context:
            locks = current_locks(context, path, locked=True)
        for platform in locks:
            click.echo(f"{lock_path(path, platform)} is fresh")
        return
    before = {each: _bytes(lock_path(path, each)) for each in platforms_at(path)}
    with open_context(progress_mode, builder=builder) as context:
        locks = lock_platforms(context, path, release=(EVERYTHING,) if upgrade else release)
    for platform, lock in locks.items():
        _tell(lock_path(path, platform), lock, before[platform])


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _tell(target: Path, lock: Lock, before: bytes) -> None:
    """Say what was locked, and whether that is news."""
    from envbuilder.resolve.target import base_words

    size = sum(wheel.size for wheel in lock.wheels) / 1e6
    click.echo(f"base: {base_words(lock.spec, lock.base)}", err=True)
    count = f"{len(lock.wheels)} wheels" + (f", {len(lock.built)} to build" if lock.built else "")
    news = "as before" if target.read_bytes() == before else "written anew" if before else "new"
    click.echo(f"{target}: {count}, {size:,.0f} MB; {news}")


def _check_all(progress_mode: str) -> None:
    """Check every spec, tell of each, and exit with the worst of their codes."""
    from envbuilder.model.errors import EnvbuilderError, UsageError
    from envbuilder.workflow.lock import current_locks

    from .console import printable
    from .context import open_context

    paths = sorted(options.FOLDER.glob("*.yaml"))
    if not paths:
        hint = "envbuilder init NAME writes one"
        raise UsageError(f"{options.FOLDER}/ holds no specs", hint=hint)
    codes = [0]
    with open_context(progress_mode) as context:
        for path in paths:
            try:
                current_locks(context, path, locked=True)
                click.echo(f"fresh  {path.stem}")
            except EnvbuilderError as error:
                click.echo(f"stale  {path.stem}: {printable(error.message)}")
                codes.append(error.exit_code)
    if worst := max(codes):
        raise SystemExit(worst)
