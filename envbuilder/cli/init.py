"""``envbuilder init``: write a spec: a commented starter, or one that says what a source says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from envbuilder.model.spec_words import Platform
    from envbuilder.workflow.adopt.adopt import Adopted, Wish

_SHOWN = 40  # statements that did not come in; the spec lists them all


@click.command("init")
@click.argument("name")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path),
    help="Write it here, not to lockfiles/.",
)
@click.option(
    "--from", "source", metavar="SOURCE",
    help="Write what SOURCE says: a requirements file, pyproject.toml, pylock.toml, a virtual "
    "environment, a Dockerfile or an image.",
)  # fmt: skip
@click.option("--pin", is_flag=True, help="With --from: pin every version that SOURCE holds.")
@click.option("--force", is_flag=True, help="Replace a spec that is there already.")
@click.option("--python", metavar="X.Y", help="With --from: for this Python, whatever SOURCE says.")
@click.option("--target", metavar="STAGE", help="Of a Dockerfile: up to this stage.")
@click.option(
    "--build-arg", "build_args", multiple=True, metavar="NAME=VALUE",
    help="Of a Dockerfile: the value of an ARG. Repeatable.",
)  # fmt: skip
@options.platform("the environment, and of the image that it is written from")
@options.progress
def command(
    name: str,
    file: Path | None,
    source: str | None,
    pin: bool,
    force: bool,
    python: str | None,
    target: str | None,
    build_args: tuple[str, ...],
    platform: str,
    progress_mode: str,
) -> None:
    """Write a spec for NAME to lockfiles/NAME.yaml: a commented starter, or what SOURCE says.

    SOURCE is a requirements file, `pip freeze` output, pyproject.toml, uv.lock, pylock.toml, a
    virtual environment, a Dockerfile, or an image: oci:DIR, docker:NAME, PATH.tar, HOST/NAME:TAG.
    What a spec cannot say is listed with the reason, here and at the end of the spec.
    """
    from envbuilder.model.atomic import write_text
    from envbuilder.model.errors import UsageError
    from envbuilder.model.resources import template
    from envbuilder.workflow.adopt.adopt import adopt

    from .context import open_context

    path = _path(name, file, force=force)
    next_step = f"envbuilder build {name if file is None else f'-f {file}'}"
    if source is None:
        if pin or python or target or build_args:
            raise UsageError("--pin, --python, --target and --build-arg go with --from SOURCE")
        write_text(path, template("spec.yaml").replace("@NAME@", name))
        click.echo(f"wrote {path}; next: {next_step}")
        return
    wish = _wish(source, path, platform, python, target, build_args, pin=pin)
    with open_context(progress_mode) as context:
        found = adopt(context, path, wish)
    _print(path, found, next_step)


def _path(name: str, file: Path | None, *, force: bool) -> Path:
    """Return where the spec goes; raise UsageError if it may not be written there."""
    import msgspec

    from envbuilder.model.codec import convert
    from envbuilder.model.errors import UsageError
    from envbuilder.model.spec_words import IN_WORDS, NAME, Name

    try:
        convert(name, Name)
    except msgspec.ValidationError as error:
        expected = f"{IN_WORDS[NAME]}, 64 characters at most"
        raise UsageError(f"{name!r} is no name: expected {expected}") from error
    path = file or options.FOLDER / f"{name}.yaml"
    if path.stem != name:
        hint = f"envbuilder init {path.stem} -f {path}"
        raise UsageError(f"{path} cannot hold {name}: a spec is named like its file", hint=hint)
    if path.exists() and not force:
        hint = "choose another name, edit it, or replace it with --force"
        raise UsageError(f"{path} exists already", hint=hint)
    return path


def _wish(
    source: str,
    path: Path,
    platform: str,
    python: str | None,
    stage: str | None,
    build_args: tuple[str, ...],
    *,
    pin: bool,
) -> Wish:
    from envbuilder.workflow.adopt.adopt import Wish
    from envbuilder.workflow.adopt.fold import Target

    target = Target(folder=path.parent, platform=_known(platform), python=_minor(python), pin=pin)
    return Wish(source=source, target=target, stage=stage, arguments=_arguments(build_args))


def _known(platform: str) -> Platform:
    from envbuilder.model.errors import UsageError
    from envbuilder.model.spec_words import PLATFORMS

    found = next((each for each in PLATFORMS if each == platform), None)
    if found is None:
        raise UsageError(f"no platform {platform!r}: expected {' or '.join(PLATFORMS)}")
    return found


def _minor(python: str | None) -> str | None:
    from envbuilder.model.errors import UsageError

    if python is not None and not re.fullmatch(r"3\.\d{1,2}", python):
        raise UsageError(f"{python!r} is no Python: expected one like 3.12")
    return python


def _arguments(given: tuple[str, ...]) -> dict[str, str]:
    from envbuilder.model.errors import UsageError

    for text in given:
        if not text.partition("=")[0].isidentifier() or "=" not in text:
            raise UsageError(f"--build-arg {text!r}: expected NAME=VALUE")
    return dict(text.partition("=")[::2] for text in given)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _print(path: Path, found: Adopted, next_step: str) -> None:
    """Say what came in, and what did not with its reason."""
    findings, spec = found.findings, found.spec
    left = findings.left
    read = len(findings.statements)
    for each in left[:_SHOWN]:
        click.echo(f"{each.at.place}: {each.at.shown}\n    not taken: {each.left}")
    if len(left) > _SHOWN:
        click.echo(f"… and {len(left) - _SHOWN} more, at the end of {path}")
    click.echo(f"wrote {path}: {read - len(left)} of {read} statements came in")
    if findings.unpinned:
        click.echo(f"not pinned, so that `lock` chooses: {_some(findings.unpinned)}")
    count = f"{len(spec.packages)} packages, {len(spec.system.packages)} of the system"
    click.echo(f"it is a valid spec: {spec.platform}, Python {spec.python}; {count}")
    click.echo(f"next: {next_step}")
