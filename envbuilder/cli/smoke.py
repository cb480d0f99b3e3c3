"""``envbuilder smoke``: the checks alone, against an image or an environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuilder.model.errors import UsageError

from . import options, smoke_server

if TYPE_CHECKING:
    from envbuilder.model.lock import Lock
    from envbuilder.model.spec_words import Platform
    from envbuilder.resolve.context import Context
    from envbuilder.smoke import LayerSize, ProbedModel, Report, SmokePlan
    from envbuilder.smoke.plan import Gpu

    Smoked = tuple[Report, tuple[LayerSize, ...]]


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
@options.model("Without a lock")
@click.option(
    "--tokens", multiple=True, metavar="MODALITY=N",
    help="Without a lock: what the engine reserves per item, like image=16384. Repeatable.",
)  # fmt: skip
@click.option(
    "--gpu", type=click.Choice(["auto", "required", "never"]), show_default="auto",
    help="Without a lock: whether to compute on this machine's GPU.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.IntRange(1, 86400), metavar="SECONDS", show_default="600",
    help="Without a lock: for the whole run.",
)  # fmt: skip
@click.option(
    "--memory", type=click.IntRange(1, 1 << 30), metavar="MIB", show_default="all",
    help="Without a lock: what the checks may take.",
)  # fmt: skip
@click.option(
    "--python", show_default="python3", help="Without a lock: the interpreter inside the image."
)
@options.runtime("the container", stated=True)
@options.platform("the image", stated=True)
@options.report
@options.allow_unproven
@options.output
@options.progress
def run(
    target: str | None,
    local: str | None,
    lock_name: str | None,
    family: str | None,
    model: str | None,
    tokens: tuple[str, ...],
    gpu: Gpu | None,
    timeout: int | None,
    memory: int | None,
    python: str | None,
    runtime: str | None,
    platform: str | None,
    report: tuple[Path, ...],
    allow_unproven: bool,
    output: str,
    progress_mode: str,
) -> None:
    """Smoke TARGET: the NAME of an environment, oci:DIR, PATH.tar, docker:IMAGE or a REF.

    A NAME is built first if it is not. For an image that was not built here, --lock says what
    must be in it. Exits with 8 if a check fails, or could not be judged (unproven).
    """
    from .context import open_context
    from .report import check_targets, named_for, show_reports, write_reports

    check_targets(report)
    if (target is None) == (local is None):
        raise UsageError("expected either a TARGET or --local PYTHON", hint="envbuilder smoke NAME")
    stated = {
        "family": family, "model": model, "tokens": tokens, "gpu": gpu, "timeout": timeout,
        "memory": memory, "python": python,
    }  # fmt: skip
    spec = Path(options.FOLDER, f"{target}.yaml")
    smoked: dict[Platform | None, Smoked]
    with open_context(progress_mode) as context:
        if target is not None and spec.is_file():
            _refuse(f"{spec} says how", {"lock": lock_name, "platform": platform, **stated})
            smoked = _environment(context, spec, runtime or "auto")
        elif local is not None:
            _refuse(
                "no container runs", {"runtime": runtime, "platform": platform, "python": python}
            )
            plan, lock = _planned(lock_name, stated)
            smoked = {None: (_local(context, local, plan, lock), ())}
        else:
            plan, lock = _planned(lock_name, stated)
            opened = (str(target), platform or "linux/amd64")
            smoked = {None: _image(context, *opened, plan, lock, runtime or "auto")}
    for of, (found, layers) in smoked.items():
        write_reports(found, named_for(of, report), layers=layers)
    show_reports({of: each for of, (each, _) in smoked.items()}, output, allow_unproven)


@command.command("explain")
@click.argument("cause", required=False)
@click.option(
    "--find", "text", metavar="TEXT", help="List the causes that speak of TEXT, or of a message."
)
def explain(cause: str | None, text: str | None) -> None:
    """Say what is known of CAUSE, or list the causes that the judge knows."""
    from envbuilder.smoke import causes

    if cause is not None and text is not None:
        raise UsageError("expected a CAUSE or --find TEXT", hint="envbuilder smoke explain CAUSE")
    if cause is None:
        found = causes.book() if text is None else causes.search(text)
        if not found:
            raise UsageError(
                f"no cause speaks of {text!r}", hint="envbuilder smoke explain lists all of them"
            )
        for entry in found:
            click.echo(f"{entry.cause.id:<28} {entry.cause.title}")
        return
    entry = causes.explain(cause)
    click.echo(f"{entry.cause.title}\n\ncause  {entry.cause.cause}\ncure   {entry.cause.cure}")
    known = (
        ("seen", entry.seen),
        ("between", entry.between),
        ("versions", entry.affects),
        ("link", entry.cause.link),
    )
    for label, told in known:
        if told:
            click.echo(f"{label:<6} {told}")


def _environment(context: Context, spec_path: Path, runtime: str) -> dict[Platform | None, Smoked]:
    """Smoke the images of an environment of ours; nothing is sealed or recorded."""
    from envbuilder.model.spec_file import platforms_at
    from envbuilder.runtime import choose
    from envbuilder.smoke.layer_sizes import layer_sizes
    from envbuilder.workflow.make import make_to_smoke
    from envbuilder.workflow.smoke import smoke_image

    chosen = choose(runtime, context.store)
    smoked: dict[Platform | None, Smoked] = {}
    for platform in platforms_at(spec_path):
        lock, image = make_to_smoke(context, spec_path, runtime=chosen, platform=platform)
        report = smoke_image(context, lock, image, runtime=chosen, folder=spec_path.parent)
        smoked[platform] = (report, layer_sizes(image.layers, lock))
    return smoked


def _refuse(why: str, given: Mapping[str, object]) -> None:
    """Refuse the options of ``given`` that have a value, all at once."""
    named = [f"--{option}" for option, value in given.items() if value]
    if named:
        raise UsageError(f"{', '.join(named)} would change nothing: {why}")


def _planned(lock_name: str | None, stated: Mapping[str, Any]) -> tuple[SmokePlan, Lock | None]:
    """Plan by the lock that ``--lock`` means, else by the options that were ``stated``."""
    from envbuilder.model.pylock import read_lock
    from envbuilder.workflow.smoke import smoke_plan

    if lock_name is None:
        return _plan(**stated), None
    _refuse(f"the lock of {lock_name} says how", stated)
    path = options.named_lock(lock_name)
    lock = read_lock(path)
    return smoke_plan(lock, folder=path.parent), lock


def _plan(
    family: str | None,
    model: str | None,
    tokens: tuple[str, ...],
    gpu: Gpu | None,
    timeout: int | None,
    memory: int | None,
    python: str | None,
) -> SmokePlan:
    """Plan by the options alone."""
    from envbuilder.smoke import SmokePlan
    from envbuilder.workflow.smoke import gpu_here

    return SmokePlan(
        models=_models(family, model, _counts(tokens)),
        gpu=gpu_here(gpu or "auto"),
        timeout=float(timeout or 600),
        memory=memory << 20 if memory else None,
        python=python or "python3",
    )


def _models(
    family: str | None, path: str | None, tokens: Mapping[str, int]
) -> tuple[ProbedModel, ...]:
    from envbuilder.smoke import ProbedModel

    if not family and not path:
        if tokens:
            hint = "add --family or --model"
            raise UsageError("--tokens states what a model reserves, and there is none", hint=hint)
        return ()
    options.refuse_both(family, path)
    return (ProbedModel(family=family, path=path, tokens=tokens),)


def _counts(tokens: tuple[str, ...]) -> dict[str, int]:
    from envbuilder.model.smoke_spec import MOST_TOKENS
    from envbuilder.smoke import MODALITIES

    found: dict[str, int] = {}
    for text in tokens:
        modality, _, number = text.partition("=")
        fits = re.fullmatch(r"[0-9]{1,10}", number) and 1 <= int(number) <= MOST_TOKENS
        if modality not in MODALITIES or not fits:
            raise UsageError(f"--tokens {text!r}: expected MODALITY=N", hint="--tokens image=16384")
        if modality in found:
            raise UsageError(f"--tokens names {modality} twice")
        found[modality] = int(number)
    return found


def _local(context: Context, python: str, plan: SmokePlan, lock: Lock | None) -> Report:
    from dataclasses import replace

    from envbuilder.smoke import LocalPython, smoke
    from envbuilder.workflow.smoke import about

    # the interpreter knows its own prefix, and there is no image that starts anything
    here = replace(plan, prefix=None, shared=True, start=None)
    run = LocalPython(python=python).run
    report = smoke(run, here, subject=python, progress=context.progress)
    return replace(report, about=about(None, lock))


def _image(
    context: Context,
    where: str,
    platform: str,
    plan: SmokePlan,
    lock: Lock | None,
    runtime: str,
) -> tuple[Report, tuple[LayerSize, ...]]:
    from dataclasses import replace

    from envbuilder.registry.open_image import open_image
    from envbuilder.runtime import choose
    from envbuilder.smoke import as_it_starts, smoke
    from envbuilder.smoke.layer_sizes import layer_sizes
    from envbuilder.workflow.smoke import about

    options.refuse_word(where)
    store, progress = context.store, context.progress
    chosen = choose(runtime, store)
    with open_image(where, platform, store=store, registries=context.registries) as opened:
        opened.bring_layers(store, progress)
        with (
            chosen.prepared(opened.image, progress=progress) as ready,
            progress.step("smoke", f"in a container ({chosen.name})", unit="items"),
        ):
            plan = as_it_starts(plan, opened.image.settings)
            report = smoke(ready.run, plan, subject=opened.name, progress=progress)
            told = about(opened.image, lock, runtime=chosen.name)
            return replace(report, about=told), layer_sizes(opened.image.layers, lock)
