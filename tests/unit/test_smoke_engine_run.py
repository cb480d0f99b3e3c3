"""The engine at work, judged: a run recorded from vLLM's CPU build, and spoilt."""

import copy
import os
from typing import Any

import pytest

from envbuilder.smoke import Check, CheckStatus, ProbedModel, SmokePlan
from envbuilder.smoke.judge import serving
from envbuilder.smoke.probe.serving import SMALL_SHARE, share

PLAN = SmokePlan(
    checks=("engine",), models=(ProbedModel(family="qwen2_5_omni"),), gpu="never", timeout=60
)


def _item(label: str, prompt: int, **tokens: int) -> dict[str, Any]:
    return {
        "label": label,
        "modalities": list(tokens),
        "samples": {kind: f"the small {kind}" for kind in tokens},
        "expected": prompt,
        "prompt": prompt,
        "expected_tokens": tokens,
        "tokens": dict(tokens),
        "generated": [220, 46, 220, 46],
        "seconds": 0.1,
    }


RECORDED = {  # vLLM 0.32.0 with transformers 5.19.0
    "name": "engine.run",
    "outcome": "done",
    "facts": {"version": "0.32.0", "device": "cpu", "started": 33.1},
    "items": [
        _item("audio alone", 36, audio=25),
        _item("image alone", 111, image=100),
        _item("video alone", 155, video=144),
        _item("all together", 284, audio=25, image=100, video=144),
    ],
    "doing": "answering all together",
    "failure": None,
    "finished": True,
    "seconds": 54.5,
}


def judged(plan: SmokePlan = PLAN, **changes: Any) -> Check:
    job = {**copy.deepcopy(RECORDED), **changes}
    (check,) = serving.judge(plan, {"jobs": [job]})
    return check


def spoilt(number: int, **changes: Any) -> Check:
    """Judge the record with one answer changed."""
    items: Any = copy.deepcopy(RECORDED["items"])
    items[number].update(changes)
    return judged(items=items)


def test_equal_prompts_are_green() -> None:
    check = judged()
    assert check.status is CheckStatus.PASS
    assert "vLLM 0.32.0 serves on cpu" in check.explanation
    assert "all together 284" in check.explanation


def test_without_an_engine_there_is_no_check() -> None:
    absent = {**RECORDED, "outcome": "absent"}
    assert serving.judge(PLAN, {"jobs": [absent]}) == []
    assert serving.judge(PLAN, {"jobs": []}) == []


def test_a_build_that_needs_a_gpu_is_skipped_unless_the_gpu_is_required() -> None:
    why = "this build of vLLM needs a GPU to serve and finds none; asked only for its maxima"
    changes: Any = {
        "outcome": "inapplicable", "items": [], "facts": {"version": "0.8.5.post1", "device": ""},
        "failure": {"kind": "inapplicable", "message": why},
    }  # fmt: skip
    skipped = judged(**changes)
    assert (skipped.status, skipped.explanation) == (CheckStatus.SKIP, why)
    required = judged(SmokePlan(models=PLAN.models, gpu="required"), **changes)
    assert (required.status, required.explanation) == (CheckStatus.FAIL, why)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"tokens": {"audio": 24}, "prompt": 35},
            "vLLM 0.32.0 served 24 audio tokens of the small audio, transformers' own processor "
            "makes 25",
        ),
        ({"prompt": 37}, "served a prompt of 37 tokens, the processor makes 36"),
        ({"error": "ValueError: At most 0 audio"}, "cannot answer audio alone: ValueError"),
        ({"generated": []}, "generated nothing"),
    ],
)
def test_a_wrong_answer_is_red(changes: dict[str, Any], words: str) -> None:
    check = spoilt(0, **changes)
    assert check.status is CheckStatus.FAIL
    assert words in check.explanation


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("OSError: Could not load this library: torchcodec/libtorchcodec_image.so",
         "cuda-audio-beside-cpu-torch"),
        ("OSError: libc10_cuda.so: cannot open shared object file", "cuda-audio-beside-cpu-torch"),
        ("ImportError: libstdc++.so.6: cannot open shared object file", "libstdcxx-too-old"),
        ("ImportError: version `GLIBCXX_3.4.32' not found", "libstdcxx-too-old"),
        ("AssertionError: The processed dummy data has a total of {'video': 729}",
         "start-up-assertion"),
    ],
)  # fmt: skip
def test_an_engine_that_does_not_start_names_a_known_cause(message: str, cause: str) -> None:
    check = judged(outcome="error", items=[], failure={"kind": "error", "message": message})
    assert check.cause is not None
    assert check.cause.id == cause


def test_an_engine_on_a_cpu_is_content_with_a_small_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    assert share("cuda", tiny=True) == {}
    assert "VLLM_CPU_KVCACHE_SPACE" not in os.environ
    assert share("cpu", tiny=True) == {"gpu_memory_utilization": SMALL_SHARE}
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "1"
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "3")
    share("cpu", tiny=True)
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "3"  # what the image says, stays


@pytest.mark.parametrize(("free", "expected"), [(0.5, 0.45), (0.01, SMALL_SHARE)])
def test_real_weights_get_what_is_free(
    free: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {"SC_AVPHYS_PAGES": int(1000 * free), "SC_PHYS_PAGES": 1000}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert share("cpu", tiny=False) == {"gpu_memory_utilization": expected}
