"""``envbuilder run`` and ``envbuilder shell``: an image on this machine, in the foreground."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import options
from .wishes import wishes, wishes_of

if TYPE_CHECKING:
    from envbuilder.workflow.deploy.run_here import Engine

_F = TypeVar("_F", bound=Callable[..., object])


def where(command: _F) -> _F:
    """Add what `run` and `shell` have alone."""
    command = click.option(
        "--runtime", "engine", type=click.Choice(["docker", "podman", "oci"]),
        show_default="the first that is here",
        help="What runs it; oci is crun or runc, which needs no daemon.",
    )(command)  # fmt: skip
    return options.progress(options.offline(command))


@click.command("run")
@wishes
@where
@click.argument("name")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(name: str, args: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 - see run()
    """Run NAME's image here until it ends; ARGS, behind `--`, take the place of its Cmd.

    It is built first if it is not. The container is removed once it ends.
    """
    run(name, args, in_shell=False, **given)


def run(
    name: str,
    args: tuple[str, ...],
    *,
    in_shell: bool,
    engine: Engine | None,
    model: Path | None,
    offline: bool,
    progress_mode: str,
    **given: Any,  # noqa: ANN401 - the options of `wishes`, as wishes_of types them
) -> None:
    """Run the image of NAME, and exit as its command did."""
    from envbuilder.model.errors import UsageError
    from envbuilder.workflow.deploy.run_here import ready_to_run

    from .context import open_context

    if model is not None and not model.is_dir():
        raise UsageError(f"--model {model} is no folder")
    found = model and model.resolve()
    wanted = wishes_of(args=args, model=found, **given)
    with ExitStack() as whole:
        with open_context(progress_mode, offline=offline) as context:  # its display ends before
            path = options.spec_path(name, None)
            asked = ready_to_run(context, path, wanted, engine=engine, in_shell=in_shell)
            ready = whole.enter_context(asked)
        click.echo(f"$ {ready.shown}", err=True)
        code = ready.run()
    if code:
        raise SystemExit(code)
