"""The preflight through the command, on the real GPU environment's lock and real CUDA wheels."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from envbuilder.cli.app import cli
from envbuilder.model.pylock import read_lock
from envbuilder.resolve.python.wheels import supply
from envbuilder.storage.store import Store
from tests.contexts import context

pytestmark = pytest.mark.integration

LOCK = Path(__file__).parents[2] / "lockfiles" / "pylock.omni-gpu.toml"
SMALL = ("torchaudio", "torchvision")  # 10 MB of wheels with CUDA code, of the stack's 3 GB


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store that has two of the lock's CUDA wheels, as their index offers them."""
    filled, lock = Store(tmp_path_factory.mktemp("store")), read_lock(LOCK)
    wheels = [wheel for wheel in lock.wheels if wheel.name in SMALL]
    source = supply(context(filled), lock, wheels)
    source.bring_all(wheels)
    return filled


def _doctor(store: Store, *options: str) -> Result:
    environment = {"ENVBUILDER_CACHE": str(store.root)}
    words = ["doctor", str(LOCK), "--progress", "quiet", *options]
    return CliRunner().invoke(cli, words, env=environment)


def _findings(result: Result) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in json.loads(result.stdout)}


def test_the_lock_alone_tells_driver_and_release(store: Store) -> None:
    done = _doctor(store, "--output", "json", "--driver", "550.54.15", "--gpu", "9.0")
    found = _findings(done)
    assert done.exit_code == 0
    assert found["CUDA"]["detail"] == "12.4, by nvidia-cuda-runtime-cu12 12.4.127"
    assert found["driver"]["status"] == "ok"
    assert found["not known"]["detail"].startswith(
        "the store lacks the wheels of torch 2.6.0, vllm"
    )
    # what cuobjdump lists of the same wheels
    audio = "compute_50 sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"
    vision = "compute_50 compute_90 sm_50 sm_52 sm_60 sm_61 sm_70 sm_75 sm_80 sm_86 sm_89 sm_90"
    assert found["torchaudio 2.6.0"]["detail"].startswith(audio)
    assert found["torchvision 0.21.0"]["detail"].startswith(vision)
    assert found["GPU 9.0"]["status"] == "warn"  # torch's part is not known


def test_a_driver_that_is_too_old_exits_with_6(store: Store) -> None:
    done = _doctor(store, "--driver", "470.57.02")
    assert done.exit_code == 6
    assert "470.57.02 is too old" in done.stdout
    assert "cuda-compat-12-4 bridges it, which the image lacks" in done.stdout


def test_a_gpu_that_wheels_have_no_code_for_is_named(store: Store) -> None:
    done = _doctor(store, "--gpu", "10.0")
    assert "B200: no machine code for it in torchvision 0.21.0, torchaudio 2.6.0" in done.stdout


@pytest.mark.parametrize("options", [("--driver", "new"), ("--gpu", "H100")])
def test_a_word_is_no_version(store: Store, options: tuple[str, str]) -> None:
    done = _doctor(store, *options)
    assert "is no version" in str(done.exception)
