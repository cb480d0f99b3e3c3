"""The ``envbuilder`` command: finds subcommands lazily, and is the one error boundary."""

from __future__ import annotations

import difflib
import gc
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import Any, NoReturn

import click

from envbuilder import __version__
from envbuilder.model.errors import EnvbuilderError, of_system

COMMANDS = {
    # The main job and its parts.
    "init": "Write a commented starter spec.",
    "lock": "Resolve a spec and pin every artifact by hash.",
    "render": "Write the lock as a Dockerfile that stands alone.",
    "fetch": "Bring all locked artifacts into the store.",
    "build": "Lock, assemble, smoke, seal and record: the main job.",
    "smoke": "Run the smoke checks against an image or an environment.",
    "wheels": "Build what comes from git, and carry it between machines.",
    "inspect": "Show an image's layers, packages and every byte of cache.",
    # Use.
    "run": "Run NAME's image on this machine.",
    "shell": "Open a shell in NAME's image.",
    "export": "Print a deployment: Kubernetes, Compose, Quadlet or Apptainer.",
    "status": "Show all environments of this project at a glance.",
    # Change.
    "outdated": "Show what is newer than what is locked.",
    "bump": "Change pins, see what moves, keep it if it is good.",
    "history": "Show every build, good and bad.",
    "rollback": "Go back to a build that was good.",
    "bisect": "Find the change that turned the smoke red.",
    "regenerate": "Rebuild many environments.",
    "matrix": "Write one spec for each combination of pins.",
    # Registries.
    "push": "Push an image to a registry, with signed evidence.",
    "promote": "Move a registry's tag to a known-good image.",
    "verify": "Prove that a remote image is what its lock says.",
    "sbom": "Write what an image consists of, for scanners.",
    "diff": "Show what two locks or images differ in.",
    "keys": "Make the keys that sign evidence.",
    # Housekeeping.
    "doctor": "Say what this machine can do, and what to do about the rest.",
    "cache": "Look at, check and trim the store.",
    "schema": "Print the JSON schema of a spec.",
}
"""Every subcommand and its one-line help, so that ``--help`` need not import any of them."""
_OUTPUT_IS_A_PATH = frozenset({"render", "sbom"})
_NEW_OBJECTS = 50_000  # between two looks for garbage: Python's 700 cost a tenth of each start


class LazyGroup(click.Group):
    """A group whose command NAME lies in ``envbuilder.cli.NAME`` as ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List the commands in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import the command's module when it is called; raise UsageError if there is none."""
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no command {cmd_name!r}{meant}", ctx)
        command: click.Command = import_module(f"envbuilder.cli.{cmd_name}").command
        return command

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401 (click's)
        """Read the command line; `--help` may meet a reader that is gone."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:  # click would exit with 1
            _leave_quietly()

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; where the reader of our output has seen enough, as `head`, end so."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _leave_quietly()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Show the one-line helps."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="envbuilder")
def cli() -> None:
    """Build reproducible, smoke-tested deployment environments for multimodal models on GPUs.

    NAME is an environment: its spec is lockfiles/NAME.yaml, its lock pylock.NAME.toml beside it.
    """


def main() -> NoReturn:
    """Run the command line and exit with the code that ``errors`` gives the failure."""
    gc.set_threshold(_NEW_OBJECTS)
    try:
        cli.main(standalone_mode=False)
        if sys.stdout is not None:  # None if it was closed before us
            sys.stdout.flush()  # here, where a reader that is gone can still be met quietly
    except click.exceptions.Abort as stop:
        if isinstance(stop.__cause__, EOFError):  # click takes any EOFError for Ctrl-D
            raise stop.__cause__ from None
        _fail("interrupted", code=130)
    except KeyboardInterrupt:
        _fail("interrupted", code=130)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"{context.command_path} --help" if context else ""
        _fail(error.format_message(), hint=hint, code=error.exit_code)
    except EnvbuilderError as error:
        _show_where()
        _fail(error.message, hint=error.hint, code=error.exit_code)
    except BrokenPipeError:
        _leave_quietly()
    except OSError as error:
        _show_where()
        told = of_system(error)
        _fail(told.message, code=told.exit_code)
    sys.exit(0)


def _leave_quietly() -> NoReturn:
    """Exit as a program does that SIGPIPE ends; Python shall not try to flush once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    sys.exit(128 + signal.SIGPIPE)


def _wants_json(arguments: list[str]) -> bool:
    """Return whether ``-o json`` asks for results that programs read; errors are such, too."""
    if arguments and arguments[0] in _OUTPUT_IS_A_PATH:
        return False
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return bool({"-ojson", "--output=json"} & set(ours)) or any(
        option in {"-o", "--output"} and value == "json" for option, value in pairwise(ours)
    )


def _show_where() -> None:
    if os.environ.get("ENVBUILDER_DEBUG"):
        traceback.print_exc()


def _fail(message: str, *, code: int, hint: str = "") -> NoReturn:
    from .console import printable

    message, hint = (printable(text, keep="\n") for text in (message, hint))
    with suppress(OSError):  # of a terminal that hung up, nobody reads it
        if _wants_json(sys.argv[1:]):
            from .options import json_text

            click.echo(json_text({"error": message, "hint": hint, "code": code}))
        click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
        if hint:
            click.echo(f"{click.style('hint:', fg='cyan')} {hint}", err=True)
    sys.exit(code)
