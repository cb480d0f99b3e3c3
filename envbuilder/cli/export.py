"""``envbuilder export``: how other tools run an image, as a file of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unicodedata import category

import click

from envbuilder.model.errors import UsageError

from . import options
from .wishes import wishes, wishes_of

_TOOLS = ("kubernetes", "compose", "quadlet", "apptainer")


@click.command("export")
@click.option("--kubernetes", is_flag=True, help="A Deployment and its Service.")
@click.option("--compose", is_flag=True, help="A file for docker compose.")
@click.option("--quadlet", is_flag=True, help="A unit: systemd has Podman run it.")
@click.option("--apptainer", is_flag=True, help="A definition file.")
@click.option(
    "--image", "ref", metavar="REF", required=True,
    help="Where the image was pushed to: HOST/NAME. The lock's seal says which digest.",
)  # fmt: skip
@click.option("--pull-secret", metavar="NAME", help="Kubernetes: the secret to pull with.")
@wishes
@click.argument("name")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(
    ref: str,
    pull_secret: str | None,
    name: str,
    args: tuple[str, ...],
    model: Path | None,
    **given: Any,  # noqa: ANN401 - the options of `wishes`, as wishes_of types them
) -> None:
    """Print a deployment of NAME's sealed image, by digest; ARGS, behind `--`, replace its Cmd.

    GPUs come from what the lock is made for, probes from the spec's healthcheck, ports from its
    expose. --model is a folder of the host that runs it.
    """
    from dataclasses import replace

    from envbuilder.model.pylock import read_lock
    from envbuilder.model.reference import ImageRef
    from envbuilder.workflow.deploy.deployment import deployment, pinned

    options.refuse_word(ref)
    tool = _one_tool([name for name in _TOOLS if given.pop(name)])
    if pull_secret is not None and tool != "kubernetes":
        raise UsageError("--pull-secret is for --kubernetes", hint="others log in by themselves")
    if model is not None and not model.is_absolute():
        raise UsageError(f"--model {model}: expected an absolute path on the host that runs it")
    locks = [read_lock(path) for path in options.named_locks(name).values()]
    image = pinned(locks, ImageRef.parse(ref))
    wanted = replace(wishes_of(args=args, model=model, **given), pull_secret=pull_secret)
    _check_lines((*wanted.args, *wanted.env.values(), str(model or "")))
    click.echo(_writer(tool)(deployment(locks[0], wanted, image=image)), nl=False)


def _one_tool(chosen: list[str]) -> str:
    if len(chosen) != 1:
        found = " and ".join(f"--{name}" for name in chosen) or "none"
        raise UsageError(f"expected one of --{', --'.join(_TOOLS)}, found {found}")
    return chosen[0]


def _writer(tool: str) -> Any:  # noqa: ANN401 - a function of the tool's module
    from importlib import import_module

    return getattr(import_module(f"envbuilder.workflow.deploy.{tool}"), tool)


def _check_lines(texts: tuple[str, ...]) -> None:
    """Refuse what could not stand in one line of a file, or in none that is UTF-8."""
    for text in texts:
        if any(category(sign) in {"Cc", "Cs"} for sign in text):
            raise UsageError(f"{text!r} has control characters, which not every file can hold")
