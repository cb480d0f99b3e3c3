"""What to do with a built image: where it is, how it runs, where it goes, and what to commit."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from .options import FOLDER


def print_next(
    spec: Path,
    *,
    store: Path,
    exported: str | None,
    pushed: str | None,
    good: bool,
    several: bool = False,
) -> None:
    """Print :func:`next_steps`."""
    steps = next_steps(
        spec, store=store, exported=exported, pushed=pushed, good=good, several=several
    )
    for word, line in steps:
        click.echo(f"{word:<6} {line}")


def next_steps(
    spec: Path,
    *,
    store: Path,
    exported: str | None,
    pushed: str | None,
    good: bool,
    several: bool = False,
) -> list[tuple[str, str]]:
    """Return what ``build`` of ``spec`` ends with: a word, and a place or a command, each a line.

    ``exported`` is the target of --output-image, ``pushed`` that of --push. An image that is not
    ``good`` is not recommended to anybody: only its place is said. ``several`` platforms have no
    archive that an engine loads.
    """
    places = [str(store), *(place for place in (exported, pushed) if place)]
    found = [("where", ", ".join(places))]
    if good:
        found += _several(spec, pushed) if several else _commands(spec, exported, pushed)
        found.append(("commit", f"git add {shlex.join(map(str, written(spec)))}"))
    return found


def written(spec: Path) -> list[Path]:
    """List the files of an environment that belong into version control, where they exist."""
    from envbuilder.model.pylock import lock_path
    from envbuilder.model.spec_words import PLATFORMS
    from envbuilder.smoke.touched import start_path

    name = spec.stem
    locks = (lock_path(spec, each) for each in PLATFORMS)
    beside = map(spec.with_name, (f"{name}.ledger.jsonl", f"{name}.answers.json"))
    starts = (start_path(spec.parent, name, each) for each in PLATFORMS)
    return [spec, *(path for path in (*locks, *beside, *starts) if path.exists())]


def _commands(spec: Path, exported: str | None, pushed: str | None) -> Iterator[tuple[str, str]]:
    name = spec.stem
    if pushed:
        yield "run", f"docker run --rm -it {shlex.quote(pushed)}"
        return
    named = spec.parent == FOLDER
    lock = name if named else shlex.quote(str(spec.with_name(f"pylock.{name}.toml")))
    if exported is None:
        asked = name if named else f"--file {shlex.quote(str(spec))}"
        archive = f"{name}.tar"
        yield "load", f"envbuilder build {asked} --output-image {archive} && {_load(archive)}"
    elif exported.startswith("oci:"):
        yield "load", f"skopeo copy {shlex.quote(exported)} docker-daemon:{name}:latest"
    else:
        yield "load", _load(exported)
    yield "run", f"docker run --rm -it {name}:latest"
    yield "push", f"envbuilder push {lock} HOST/{name}:TAG"


def _several(spec: Path, pushed: str | None) -> Iterator[tuple[str, str]]:
    yield "run", f"envbuilder run {spec.stem}"
    if not pushed:
        yield "push", f"envbuilder push {spec.stem} HOST/{spec.stem}:TAG"


def _load(archive: str) -> str:
    return f"docker load --input {shlex.quote(archive)}"
