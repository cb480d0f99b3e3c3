"""``envbuilder smoke``: the checks alone, against an image or an environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuilder.errors import UsageError

from . import options, smoke_server

if TYPE_CHECKING:
    from envbuilder.progress import Progress
    from envbuilder.smoke import LayerSize, Report, SmokePlan

_MODALITIES = ("audio", "image", "video")


class _RunByDefault(click.Group):
    """A group that takes whatever is no subcommand for the argument of ``run``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            asks_server = any(one == "--server" or one.startswith("--server=") for one in args)
            args = ["server" if asks_server else "run", *args]
        return super().resolve_command(ctx, args)


@click.group("smoke", cls=_RunByDefault, context_settings={"ignore_unknown_options": True})
def command() -> None:
    """Smoke an image, an environment on this machine, NAME's image, or a running server.

    `envbuilder smoke TARGET` is short for `envbuilder smoke run TARGET`, and
    `envbuilder smoke --server URL` for `envbuilder smoke server --server URL`.
    """


command.add_command(smoke_server.command)


@command.command("run")
@click.argument("target", required=False)
@click.option("--local", metavar="PYTHON", help="An interpreter on this machine, not an image.")
@click.option(
    "--lock", "lock_name", metavar="NAME",
    help="Expect what this lock says (a NAME, or the path of a lock).",
)  # fmt: skip
@click.option("--family", help="Without a lock: count with a tiny model of this family.")
@click.option("--model", metavar="DIR", help="Without a lock: count with the model in this folder.")
@click.option(
    "--tokens", multiple=True, metavar="MODALITY=N",
    help="Without a lock: what the engine reserves per item, like image=16384. Repeatable.",
)  # fmt: skip
@click.option(
    "--python", default="python3", show_default=True,
    help="Without a lock: the interpreter inside the image.",
)  # fmt: skip
@click.option(
    "--runtime", type=click.Choice(["auto", "docker", "oci"]), default="auto", show_default=True,
    help="What runs the container.",
)  # fmt: skip
@click.option("--platform", default="linux/amd64", show_default=True, help="Of the image.")
@click.option(
    "--report", type=click.Path(path_type=Path), multiple=True,
    help="Write the report: *.html, *.json or *.xml (JUnit). Repeatable.",
)  # fmt: skip
@options.output
@options.progress
def run(
    target: str | None,
    local: str | None,
    lock_name: str | None,
    family: str | None,
    model: str | None,
    tokens: tuple[str, ...],
    python: str,
    runtime: str,
    platform: str,
    report: tuple[Path, ...],
    output: str,
    progress_mode: str,
) -> None:
    """Smoke TARGET: the NAME of an environment, oci:DIR, PATH.tar, docker:IMAGE or a REF.

    A NAME is built first where it is not. For an image that was not built here, --lock says what
    must be in it. Exits with 8 where a check fails.
    """
    from .console import open_progress
    from .report import check_targets, print_report, write_reports

    check_targets(report)
    if (target is None) == (local is None):
        raise UsageError("expected either a TARGET or --local PYTHON", hint="envbuilder smoke NAME")
    named = None if target is None else Path(options.FOLDER, f"{target}.yaml")
    with open_progress(progress_mode) as progress:
        if named is not None and named.is_file():
            found, layers = _environment(named, runtime, progress)
        else:
            plan = _plan(lock_name, family, model, tokens, python)
            if local is not None:
                found, layers = _local(local, plan), ()
            else:
                found, layers = _image(str(target), plan, runtime, platform, progress)
    write_reports(found, report, layers=layers)
    if output == "json":
        options.print_json(found.to_dict())
    else:
        print_report(found)
    if not found.ok:
        raise SystemExit(8)


@command.command("explain")
@click.argument("cause", required=False)
def explain(cause: str | None) -> None:
    """Say what is known of CAUSE, or list the causes that the judge knows."""
    from envbuilder.smoke import causes

    if cause is None:
        for entry in causes.book():
            click.echo(f"{entry.cause.id:<28} {entry.cause.title}")
        return
    entry = causes.explain(cause)
    click.echo(f"{entry.cause.title}\n\ncause  {entry.cause.cause}\ncure   {entry.cause.cure}")
    for label, text in (("seen", entry.seen), ("link", entry.cause.link)):
        if text:
            click.echo(f"{label}   {text}")


def _environment(
    spec_path: Path, runtime: str, progress: Progress
) -> tuple[Report, tuple[LayerSize, ...]]:
    """Smoke the image of an environment of ours; nothing is sealed or recorded."""
    from envbuilder.layers.store import Store
    from envbuilder.pipeline import Options, current_lock, make_image
    from envbuilder.runtime import choose
    from envbuilder.smoke.layer_sizes import layer_sizes
    from envbuilder.smoke_image import smoke_image

    store = Store.default()
    chosen = choose(runtime, store)
    how = Options()
    lock = current_lock(spec_path, store=store, progress=progress, options=how)
    image = make_image(lock, store=store, progress=progress, options=how)
    report = smoke_image(lock, image, store=store, runtime=chosen, progress=progress, offline=False)
    return report, layer_sizes(image.layers, lock)


def _plan(
    lock_name: str | None,
    family: str | None,
    model: str | None,
    tokens: tuple[str, ...],
    python: str,
) -> SmokePlan:
    from envbuilder.lock_file import read_lock
    from envbuilder.smoke import Model, SmokePlan
    from envbuilder.smoke_image import smoke_plan

    if lock_name is not None:
        if family or model or tokens:
            raise UsageError("--lock says already what --family, --model and --tokens would")
        return smoke_plan(read_lock(options.named_lock(lock_name)))
    asked = None if not (family or model) else Model(family=family, path=model)
    counts = dict(_count(each) for each in tokens)
    return SmokePlan(model=asked, tokens=counts, gpu="never", python=python)


def _count(text: str) -> tuple[str, int]:
    modality, _, number = text.partition("=")
    if modality not in _MODALITIES or not number.isdecimal():
        raise UsageError(f"--tokens {text!r}: expected MODALITY=N", hint="--tokens image=16384")
    return modality, int(number)


def _local(python: str, plan: SmokePlan) -> Report:
    from dataclasses import replace

    from envbuilder.smoke import LocalPython, smoke

    here = replace(plan, prefix=None, shared=True)  # the interpreter knows its own prefix
    return smoke(LocalPython(python=python).run, here, subject=python)


def _image(
    where: str, plan: SmokePlan, runtime: str, platform: str, progress: Progress
) -> tuple[Report, tuple[LayerSize, ...]]:
    from envbuilder.layers.store import Store
    from envbuilder.open_image import open_image
    from envbuilder.runtime import choose
    from envbuilder.smoke import smoke
    from envbuilder.smoke.layer_sizes import layer_sizes

    store = Store.default()
    chosen = choose(runtime, store)
    with open_image(where, platform) as opened:
        opened.bring_layers(store, progress)
        with (
            chosen.prepared(opened.image, progress=progress) as ready,
            progress.step("smoke", f"in a container ({chosen.name})", unit="items"),
        ):
            report = smoke(ready.run, plan, subject=opened.name)
            return report, layer_sizes(opened.image.layers)
