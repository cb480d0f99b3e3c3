"""``envbuilder smoke --server URL``: what a running server counts, against the processor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuilder.model.errors import UsageError

from . import options

if TYPE_CHECKING:
    from envbuilder.resolve.context import Context
    from envbuilder.smoke import SmokePlan
    from envbuilder.smoke.server import Counts


@click.command("server")
@click.argument("name", required=False)
@click.option("--server", "url", metavar="URL", required=True, help="An OpenAI-compatible server.")
@click.option(
    "--key-variable", metavar="VARIABLE", default="OPENAI_API_KEY", show_default=True,
    help="The environment variable that holds the server's key.",
)  # fmt: skip
@click.option(
    "--server-timeout", type=click.IntRange(1, 86400), default=120, show_default=True,
    metavar="SECONDS", help="For each request as a whole.",
)  # fmt: skip
@click.option("--local", metavar="PYTHON", help="Count with an interpreter on this machine.")
@options.model("With --local")
@options.runtime("the container of NAME")
@options.report
@options.allow_unproven
@options.output
@options.progress
def command(
    name: str | None,
    url: str,
    key_variable: str,
    server_timeout: int,
    local: str | None,
    family: str | None,
    model: str | None,
    runtime: str,
    report: tuple[Path, ...],
    allow_unproven: bool,
    output: str,
    progress_mode: str,
) -> None:
    """Send pictures, sound and video to a running server, and compare its token counts.

    What it should count is counted by the processor of NAME's model in NAME's image, or with
    --local PYTHON and --family or --model. Without either, the server is compared with itself,
    which shows that it is steady but not that it is right. Exits with 8 if a check fails, or
    could not be judged (unproven).
    """
    from dataclasses import replace

    from envbuilder.smoke.server import Server, smoke_server
    from envbuilder.workflow.smoke import about

    from .context import open_context
    from .report import check_targets, show_report, write_reports

    check_targets(report)
    _check(name, local, family, model)
    server = Server(url, key_variable=key_variable, timeout=server_timeout)
    with open_context(progress_mode) as context:
        expected = None
        if local is not None:
            expected = _counted_here(local, family, model)
        elif name is not None:
            expected = _counted_in(context, options.spec_path(name, None), runtime)
        with context.progress.step("smoke", f"asking {server.base}", unit="items"):
            found = replace(smoke_server(server, expected), about=about(None, None))
    write_reports(found, report)
    show_report(found, output, allow_unproven=allow_unproven)


def _check(name: str | None, local: str | None, family: str | None, model: str | None) -> None:
    """Refuse options that do not go together."""
    hint = "envbuilder smoke --server URL --local PYTHON --family qwen2_5_omni"
    if name is not None and (local or family or model):
        raise UsageError(f"{name} says already where to count, and with which model", hint=hint)
    if (local is not None) != bool(family or model):
        raise UsageError(
            "--local goes with --family or --model, which say what to count", hint=hint
        )
    options.refuse_both(family, model)


def _counted_here(python: str, family: str | None, model: str | None) -> Counts:
    from envbuilder.smoke import LocalPython, ProbedModel, SmokePlan
    from envbuilder.smoke.server import expectation

    models = (ProbedModel(family=family, path=model),)
    plan = SmokePlan(models=models, gpu="never", shared=True)
    return expectation(LocalPython(python=python).run, plan)


def _counted_in(context: Context, spec_path: Path, runtime: str) -> Counts:
    """Count in the image of an environment of ours, which is built if it is not."""
    from envbuilder.runtime import choose
    from envbuilder.smoke.server import expectation
    from envbuilder.workflow.make import make_to_smoke
    from envbuilder.workflow.smoke import smoke_plan

    chosen = choose(runtime, context.store)
    lock, image = make_to_smoke(context, spec_path, runtime=chosen)
    plan: SmokePlan = smoke_plan(lock, folder=spec_path.parent)
    with chosen.prepared(image, progress=context.progress) as ready:
        return expectation(ready.run, plan)
