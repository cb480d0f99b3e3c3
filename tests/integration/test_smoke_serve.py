"""The image's own entry point serves the tiny model in the demo's container, and is asked.

The server is small, its processor, model and weights are transformers' own.
"""

import dataclasses
from pathlib import Path

import pytest

from envbuilder.runtime import Command, Completed, Mount, Prepared
from envbuilder.smoke import Check, CheckStatus, Report, SmokePlan, Start, smoke
from tests.unit.smoke_documents import conform

pytestmark = [pytest.mark.integration]

SERVER = Path(__file__).parents[1] / "servers" / "omni_server.py"


def _served(container: tuple[Prepared, SmokePlan], *arguments: str) -> Check:
    (check,) = [one for one in _report(container, *arguments).checks if one.name == "start.serve"]
    return check


def _report(container: tuple[Prepared, SmokePlan], *arguments: str) -> Report:
    ready, plan = container

    def run(command: Command) -> Completed:
        mounts = (*command.mounts, Mount(source=SERVER, target="/server.py"))
        return ready.run(dataclasses.replace(command, mounts=mounts))

    serve = (plan.python, "-B", "/server.py", "{model}", "--port", "8123", *arguments)
    start = Start(args=serve, serve=serve, port=8123, within=200)
    asked = dataclasses.replace(plan, checks=("start",), jobs=("start.serve",), start=start)
    report = smoke(run, asked)
    conform(report)
    return report


def test_a_server_that_takes_every_modality_is_green_and_says_when_it_was_ready(container) -> None:
    report = _report(container)
    (check,) = [one for one in report.checks if one.name == "start.serve"]
    assert check.status is CheckStatus.PASS, check.explanation
    assert report.touched is not None
    assert report.touched.by == ("start.serve",)
    (torch,) = [path for path in report.touched.chunks if "/libtorch_cpu.so" in path]
    assert len(report.touched.chunks[torch]) > 10, "the server runs a model, the probe looks at it"
    requests = {one["modality"]: one for one in check.details["requests"] if one["modality"]}
    assert {kind: one["placeholders"] for kind, one in requests.items()} == {
        "audio": 25, "image": 100, "video": 288,
    }  # fmt: skip
    assert all(one["added"] == one["placeholders"] + 2 for one in requests.values())
    assert check.details["facts"]["ready"] > 0


def test_a_server_that_loses_a_modality_is_red(container) -> None:
    check = _served(container, "--deaf", "image")
    assert check.status is CheckStatus.FAIL
    assert "image 280x280: the processor makes 100 tokens of it, the server's prompt is only 0" in (
        check.explanation
    )
