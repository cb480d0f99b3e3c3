"""Clocks that jump, and processes that are held up."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from tests.siege.attacks.kills import commands, send
from tests.siege.field import Attack, Field
from tests.siege.testbed import NAME

YEAR = 365 * 86400


def clock_of_process(field: Field) -> None:
    """A command whose clock is off by up to decades, or runs fast."""
    off = field.random.choice(("-20y", "-1y", "-1d", "-90s", "+90s", "+1d", "+12y", "+0 x500"))
    arguments = field.random.choice(
        (
            ("build", NAME, "--no-smoke"),
            ("build", NAME),
            ("cache", "prune"),
            ("history", NAME),
            ("lock", NAME, "--upgrade"),
            ("push", NAME, f"{field.bed.host}/pushed:2", "--key", "key.key"),
        )
    )
    with field.judge.as_it_was():
        field.judge.run(*arguments, prefix=("faketime", "-f", off))
    field.judge.settle()


def clock_of_files(field: Field) -> None:
    """Files of the store, and the whole checkout, from the future or from 1970."""
    when = time.time() + field.random.choice((-60 * YEAR, -YEAR, -7200, 7200, YEAR, 10 * YEAR))
    for folder, _, names in os.walk(field.checkout.folder):
        for name in names:
            if field.random.random() < 0.5:
                os.utime(Path(folder, name), (when, when), follow_symlinks=False)
    with field.judge.as_it_was():
        field.judge.run(*field.random.choice(commands(field.bed.host)))
    field.judge.settle()


def held_up(field: Field) -> None:
    """SIGSTOP in the midst, another command meanwhile, SIGCONT: both end well."""
    judge, random = field.judge, field.random
    arguments = random.choice((("build", NAME, "--no-smoke"), ("build", NAME), ("fetch", NAME)))
    if random.random() < 0.5:
        shutil.rmtree(field.checkout.store / "records", ignore_errors=True)
    with judge.as_it_was():
        one = judge.start(*arguments)
        time.sleep(random.uniform(0, 2.0))
        send(one, signal.SIGSTOP, whole=random.random() < 0.5)
        other = judge.start("build", NAME, "--no-smoke")
        time.sleep(random.uniform(0, 3.0))
        send(one, signal.SIGCONT, whole=True)
        for running in (one, other):
            outcome = judge.finish(running, arguments)
            if outcome.code:
                judge.tally.fault("recovery", f"held up: {outcome.code}: {outcome.stderr}")
    judge.settle()


def no_faketime() -> str:
    return "" if shutil.which("faketime") else "faketime is not installed"


ATTACKS = (
    Attack(name="clock jumps", run=clock_of_process, share=0, missing=no_faketime),
    Attack(name="times of files", run=clock_of_files, share=0),
    Attack(name="SIGSTOP and SIGCONT", run=held_up, share=0),
)
