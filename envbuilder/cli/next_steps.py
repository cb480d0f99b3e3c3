"""What to do with a built image: where it is, how it runs, where it goes, and what to commit."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from .options import FOLDER


def print_next(
    spec: Path, *, store: Path, exported: str | None, pushed: str | None, good: bool
) -> None:
    """Print :func:`next_steps`."""
    for word, line in next_steps(spec, store=store, exported=exported, pushed=pushed, good=good):
        click.echo(f"{word:<6} {line}")


def next_steps(
    spec: Path, *, store: Path, exported: str | None, pushed: str | None, good: bool
) -> list[tuple[str, str]]:
    """Return what ``build`` of ``spec`` ends with: a word, and a place or a command, each a line.

    ``exported`` is the target of --output-image, ``pushed`` that of --push. An image that is not
    ``good`` is not recommended to anybody: only its place is said.
    """
    places = [str(store), *(place for place in (exported, pushed) if place)]
    found = [("where", ", ".join(places))]
    if good:
        found += _commands(spec, exported, pushed)
        found.append(("commit", f"git add {shlex.join(map(str, written(spec)))}"))
    return found


def written(spec: Path) -> list[Path]:
    """List the files of an environment that belong into version control, where they exist."""
    name = spec.stem
    beside = (f"pylock.{name}.toml", f"{name}.ledger.jsonl", f"{name}.answers.json")
    return [spec, *(path for path in map(spec.with_name, beside) if path.exists())]


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


def _load(archive: str) -> str:
    return f"docker load --input {shlex.quote(archive)}"
