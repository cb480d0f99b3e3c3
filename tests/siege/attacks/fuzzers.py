"""Fuzzers: each parser of what others wrote, in a process whose cost is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial

from tests.siege.field import Attack, Field
from tests.siege.judge import MEMORY, PATIENCE, Running
from tests.siege.parsers import PARSERS, Parser
from tests.siege.testbed import ROOT

FEW, MANY = 25, 250


def fuzz(parser: Parser, field: Field) -> None:
    """Give the parser some hundred inputs; each counts as a run."""
    count = FEW if parser.slow else MANY
    with tempfile.TemporaryDirectory(dir=field.bed.folder) as name:
        command = [sys.executable, "-m", "tests.siege.fuzz", parser.name]
        running = start([*command, str(field.tally.seed), str(count), name])
        hung, status, _ = running.wait(PATIENCE)
    outcome = running.outcome((parser.name,), os.waitstatus_to_exitcode(status))
    field.tally.cost(peak=running.peak, seconds=0)
    if running.peak > MEMORY:
        field.tally.fault("budget", f"{running.peak >> 20} MiB")
    if hung or outcome.code:
        kind = "hang" if hung or "Timeout" in outcome.stderr else "traceback"
        field.tally.fault(kind, f"{outcome.code}: {outcome.stderr}")
    for line in outcome.stdout.splitlines():
        fault = json.loads(line)
        field.tally.fault(fault["kind"], f"input {fault['number']}: {fault['text']}")
    field.tally.runs += count - 1


def start(command: list[str]) -> Running:
    out, err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
    with out, err:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env={**os.environ, "DOCKER_CONFIG": "/nowhere"}, start_new_session=True,
        )  # fmt: skip
        return Running(process=process, out=os.dup(out.fileno()), err=os.dup(err.fileno()))


ATTACKS = tuple(
    Attack(name=f"fuzz: {parser.name}", run=partial(fuzz, parser), share=0, weight=0.2, alone=False)
    for parser in PARSERS
)
