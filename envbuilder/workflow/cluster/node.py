"""What a job does on its machine: build the lock and smoke it, as a command here would."""

from __future__ import annotations

from pathlib import Path

import envbuilder
from envbuilder.model.errors import EnvbuilderError, MissingToolError, of_system
from envbuilder.model.lock import Lock
from envbuilder.model.plan import LAYOUT_VERSION
from envbuilder.model.pylock import dump_lock, lock_checksum, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.resolve.context import Context
from envbuilder.runtime import choose
from envbuilder.smoke import Report
from envbuilder.smoke.touched import dump_touched
from envbuilder.workflow.bump.stages import real_stages

from .order import Answer, Built, Order
from .package import BLOBS


def work(context: Context, order: Order, *, package: Path) -> Answer:
    """Do what ``order`` says, in the unpacked ``package``; what fails is told in the answer."""
    try:
        return _done(context, order, package)
    except EnvbuilderError as error:
        return Answer(code=error.exit_code, error=error.message, hint=error.hint)
    except OSError as error:
        told = of_system(error)
        return Answer(code=told.exit_code, error=told.message)


def _done(context: Context, order: Order, package: Path) -> Answer:
    if order.layout != LAYOUT_VERSION:
        raise MissingToolError(
            f"that machine's envbuilder has layout version {LAYOUT_VERSION}, ours {order.layout}",
            hint=f"install the same envbuilder {envbuilder.__version__} on all machines",
        )
    lock = parse_lock(order.lock)
    for blob in sorted((package / BLOBS).glob("*")):
        context.store.adopt(blob, Digest(blob.name))
    stages = real_stages(
        context,
        folder=package / order.folder,
        engine=order.engine,
        runtime=choose(order.runtime, context.store),
    )
    if order.args:
        return Answer(code=0, ran=stages.run(lock, order.args))
    outcome = stages.build(lock)
    assert outcome.report is not None  # noqa: S101 - the stages always smoke
    built = Built(
        lock=dump_lock(outcome.lock),
        manifest=outcome.image.manifest,
        config=outcome.image.config,
        report=outcome.report.to_dict(),
        entry=stages.entry(outcome),
        start=_start(outcome.report, outcome.lock),
    )
    return Answer(code=0 if outcome.good else 8, built=built)


def _start(report: Report, lock: Lock) -> str:
    """Return the text of what a start needs, empty if the smoke does not know."""
    touched = report.touched
    if touched is None or touched.problem:
        return ""
    return dump_touched(touched, lock_checksum(lock))
