"""The failure that this project began with, in a container, with the real vLLM 0.8.5.post1.

Its own source archive becomes a wheel without compiled kernels: what is asked of it here is Python.
The patched one declares its maxima by the image limit and asserts them at start-up, as vLLM did up
to 0.8.4 and in the fork at 729feed3e (QwenLM/Qwen2.5-Omni#248); the released one is the cure.
"""

import dataclasses
from pathlib import Path

import pytest

import envbuilder
from envbuilder.model.progress import Silent
from envbuilder.runtime import choose
from envbuilder.smoke import CheckStatus, Report, smoke
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import make_image
from envbuilder.workflow.smoke import smoke_plan
from tests.contexts import context
from tests.published import source_of
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration]

LOCKFILES = Path(envbuilder.__file__).parents[1] / "lockfiles"
RELEASE = "0.8.5.post1"
AS_RELEASED, ANALYTIC = f"{RELEASE}+python", f"{RELEASE}+analytic"
REQUIRES = """
    aiohttp blake3 cachetools cbor2 cloudpickle einops fastapi gguf msgspec openai psutil
    py-cpuinfo pydantic pyzmq setuptools<80 six transformers
"""  # of vLLM's own requirements, what its multimodal registry imports
THINKER = "vllm/model_executor/models/qwen2_5_omni_thinker.py"
PROFILER = "vllm/multimodal/profiling.py"
DECLARE = """
    def get_mm_max_tokens_per_item(self, seq_len, mm_counts):
        return {
            "audio": 750,
            "image": self.get_max_image_tokens(),
            "video": self.get_max_video_tokens(seq_len, mm_counts),
        }

"""
ASSERT = """
    def get_and_validate_mm_inputs(self, seq_len, mm_counts):
        total = self._get_mm_num_tokens(self._get_dummy_mm_inputs(seq_len, mm_counts))
        maxima = self.processing_info.get_mm_max_tokens_per_item(seq_len, mm_counts)
        expected = {kind: maxima[kind] * mm_counts[kind] for kind in total}
        if total != expected:
            raise AssertionError(
                f"The processed dummy data has a total of {total} placeholder tokens, "
                f"which is not the expected {expected} tokens.")

"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a wheel of each version."""
    folder = tmp_path_factory.mktemp("seed")
    files = {
        name: data for name, data in source_of("vllm", RELEASE).items() if name.startswith("vllm/")
    }
    _write(folder, AS_RELEASED, files)
    for name, anchor, text in (
        (THINKER, b"    def get_supported_mm_limits(self)", DECLARE),
        (PROFILER, b"    def get_encoder_dummy_data(", ASSERT),
    ):
        assert files[name].count(anchor) == 1
        files[name] = files[name].replace(anchor, text.encode() + anchor)
    _write(folder, ANALYTIC, files)
    return folder


def _write(folder: Path, version: str, files: dict[str, bytes]) -> None:
    recipe = Recipe(name="vllm", version=version, files=files, requires=tuple(REQUIRES.split()))
    write_wheel(folder, recipe)


def _smoke(folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Lock, build and smoke omni-cpu with ``version`` of vLLM in it; only the engine is asked."""
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    lockfiles = folder / version
    lockfiles.mkdir()
    spec = (LOCKFILES / "omni-cpu.yaml").read_text()
    pins = f'packages:\n  vllm: "=={version}"\n'
    torch = '\nenv: {TORCHDYNAMO_DISABLE: "1"} # vLLM compiles with Triton, which is not here\n'
    (lockfiles / "omni-cpu.yaml").write_text(spec.replace("packages:\n", pins, 1) + torch)
    before = (LOCKFILES / "pylock.omni-cpu.toml").read_text()
    (lockfiles / "pylock.omni-cpu.toml").write_text(before)  # so that the base is the same
    store, silent = Store.default(), Silent()
    lock = lock_environment(context(store, silent), lockfiles / "omni-cpu.yaml")
    image = make_image(context(store, silent), lock)
    plan = dataclasses.replace(smoke_plan(lock, folder=lockfiles), checks=("engine",))
    with choose("auto", store).prepared(image, progress=silent) as ready:
        return smoke(ready.run, plan, subject=version)


def test_an_engine_that_expects_16384_where_the_processor_gives_729_is_red(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = _smoke(folder, ANALYTIC, monkeypatch)
    check = next(check for check in report.checks if check.name == "engine.reserve")
    assert report.verdict is CheckStatus.FAIL
    assert (check.expected, check.actual) == ("video 16384", "video 729")
    assert check.explanation == (
        f"vLLM {ANALYTIC} would stop at start-up: The processed dummy data has a total of "
        "{'audio': 750, 'image': 16384, 'video': 729} placeholder tokens, which is not the "
        "expected {'audio': 750, 'image': 16384, 'video': 16384} tokens."
    )
    assert check.cause is not None
    assert check.cause.id == "processor-video-cap"


@pytest.mark.deep
def test_the_released_engine_that_measures_its_dummy_is_green(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = _smoke(folder, AS_RELEASED, monkeypatch)
    states = {check.name: check.status for check in report.checks}
    assert report.verdict is CheckStatus.PASS, report.summary
    assert states["engine.reserve"] is CheckStatus.PASS
    run = next(check for check in report.checks if check.name == "engine.run")
    assert run.status is CheckStatus.SKIP
    assert "needs a GPU to serve" in run.explanation
