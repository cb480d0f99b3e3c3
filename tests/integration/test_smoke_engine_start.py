"""An engine that dies or hangs while it starts, in the probe as it runs in a container."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuilder.smoke import Check, CheckStatus
from envbuilder.smoke.judge import serving
from envbuilder.smoke.run_probe import PROBE
from tests.unit.test_smoke_engine_run import PLAN

pytestmark = pytest.mark.integration


@pytest.fixture
def died(tmp_path: Path) -> Callable[[str], Check]:
    """Return a function that runs the probe with ``body`` as what starting the engine does."""

    def died(body: str) -> Check:
        probe = tmp_path / "probe"
        for source in PROBE.rglob("*.py"):
            target = probe / source.relative_to(PROBE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text())
        start = f"emit(facts={{'version': '9'}}, doing='starting the engine')\n    {body}"
        text = f"import os, time\ndef run(request, emit):\n    {start}\n"
        (probe / "serving.py").write_text(text)
        request = {**PLAN.request(), "timeout": 3 if "sleep" in body else 60}
        done = subprocess.run(
            [sys.executable, "-I", "-B", str(probe)],
            input=json.dumps(request).encode(), capture_output=True, check=True,
        )  # fmt: skip
        (check,) = serving.judge(PLAN, json.loads(done.stdout))
        return check

    return died


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.kill(os.getpid(), 11)", "the process ended with SIGSEGV while starting the engine"),
        ("os.kill(os.getpid(), 9)", "out of memory while starting the engine"),
        ("raise RuntimeError('CUDA out of memory')", "out of memory while starting the engine"),
        ("raise RuntimeError('Engine core')", "RuntimeError: Engine core while starting"),
        ("os._exit(1)", "ended with exit code 1 and no result while starting the engine"),
        ("time.sleep(60)", "while starting the engine: the time limit"),
    ],
)
def test_an_engine_that_does_not_start_says_why(
    died: Callable[[str], Check], body: str, words: str
) -> None:
    check = died(body)
    assert check.status is CheckStatus.ERROR
    assert words in check.explanation
