"""The judge: green on what was really measured, red with the right words on each planted fault."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuilder.smoke import CheckStatus, OwnSample, SmokePlan
from envbuilder.smoke.judge.gpu import runs_on
from tests.unit.smoke_documents import PLAN, Document, conform, stating


def test_recorded_run_is_known_good() -> None:
    report = Document().report()
    assert report.verdict is CheckStatus.PASS
    assert report.summary.endswith("tokens: audio 750, image 16384, video 729")
    assert {str(check.status) for check in report.checks} == {"pass", "skip"}


def test_every_sample_has_a_row_with_the_engine_beside_it() -> None:
    rows = {(row.modality, row.sample): row for row in Document().report().tokens}
    assert rows["video", "2 frames 3584x3584"].engine == 729
    assert rows["video", "2 frames 3584x3584"].stated == 729
    assert rows["image", "3584x3584"].embeddings is None
    assert "not encoded" in rows["image", "3584x3584"].note
    assert all(row.agree for row in rows.values())


def _plan(**changes: object) -> SmokePlan:
    return dataclasses.replace(PLAN, **changes)


def test_a_family_of_one_item_a_prompt_is_not_said_to_run_two() -> None:
    document = Document()
    job = document.job("tokens.mixed")
    assert "twice" in document.check("tokens.generate").explanation
    job["items"] = [item for item in job["items"] if item["label"].endswith(" alone")]
    check = document.check("tokens.generate")
    assert check.status is CheckStatus.PASS
    assert check.explanation.startswith("prompts of one item each run forward")


@pytest.mark.parametrize(
    ("release", "cause"), [("5.1.0", "flamingo-rows-of-padding"), ("5.23.0", None)]
)
def test_rows_of_padding_are_known_where_they_happen(release: str, cause: str | None) -> None:
    document = Document()
    job = document.job("tokens.audio")
    job["facts"].update(family="audioflamingo3", transformers=release)
    job["items"] = [item for item in job["items"] if item["label"] == "1 s"]
    job["items"][0]["embeddings"] = 50  # as 5.1.0 really makes it
    check = document.check("tokens.audio")
    assert check.status is CheckStatus.FAIL
    assert (check.cause.id if check.cause else None) == cause


def test_the_seeds_failure_without_an_engine_is_named() -> None:
    document = Document()
    document.drop("engine.vllm", "engine.tight")
    check = document.check("tokens.video.reserved", stating({"video": 16384}))
    assert (check.status, check.expected, check.actual) == (CheckStatus.FAIL, "16384", "729")
    assert "Qwen2_5OmniProcessor makes 729 of 2 frames 3584x3584" in check.explanation
    assert "cap on pixels lifted" in check.explanation
    assert check.cause is not None
    assert check.cause.id == "processor-video-cap"
    assert "de8f43fbe9" in check.cause.cure


def test_the_seeds_failure_in_the_engine_is_named() -> None:
    message = (
        "The processed dummy data has a total of {'audio': 750, 'image': 16384, 'video': 729} "
        "placeholder tokens, which is not the expected {'audio': 750, 'image': 16384, 'video': "
        "16384} tokens."
    )
    document = Document()
    declared = {"audio": 750, "image": 16384, "video": 16384}
    document.job("engine.vllm")["facts"].update(declared=declared, start_up=message)
    check = document.check("engine.reserve")
    assert (check.expected, check.actual) == ("video 16384", "video 729")
    assert message in check.explanation
    assert check.cause is not None
    assert check.cause.id == "processor-video-cap"


def test_declaring_more_than_the_dummy_yields_is_no_failure() -> None:
    document = Document()
    facts = document.job("engine.vllm")["facts"]
    facts.update(
        declared={"audio": 750, "image": 16384, "video": 32768},
        dummy={"audio": 750, "image": 16384, "video": 1458},
        start_up=None,
    )
    plan = stating({"video": 32768})
    assert document.report(plan).verdict is CheckStatus.PASS


def test_what_fills_the_context_need_not_cover_the_dummy() -> None:
    document = Document()
    facts = document.job("engine.vllm")["facts"]
    facts.update(declared={"audio": 32768, "image": 16384, "video": 729}, context=32768)
    facts["dummy"]["audio"] = 33000
    check = document.check("engine.reserve")
    assert check.status is CheckStatus.PASS, check.explanation
    assert "audio 32768" in check.explanation
    assert check.explanation.endswith("that is all of its context")


def test_a_modality_that_the_engine_refuses_is_unproven() -> None:
    document = Document()
    facts = document.job("engine.vllm")["facts"]
    facts.update(refused=["video"], modalities=["audio", "image"])
    facts["dummy"].pop("video")
    items = document.job("engine.vllm")["items"]
    items[:] = [item for item in items if item["modality"] != "video"]
    check = document.check("engine.reserve")
    assert check.status is CheckStatus.UNPROVEN
    assert "takes no video of this model" in check.explanation
    assert document.check("engine.counts").status is CheckStatus.PASS


def test_long_audio_may_exceed_the_maximum() -> None:
    row = next(row for row in Document().report().tokens if row.sample == "301 s")
    assert row.placeholders == 7500
    assert row.agree


def test_sound_inside_a_video_is_judged_for_both_modalities() -> None:
    document = Document()
    rows = document.report().tokens
    assert [row.modality for row in rows] == sorted(row.modality for row in rows)
    assert {row.modality for row in rows if "2 s" in row.sample} == {"audio", "video"}
    assert document.check("tokens.video").status is CheckStatus.PASS
    document.item("tokens.video", "2 s in 4 frames 56x56")["placeholders"] = 0
    check = document.check("tokens.video")
    assert check.status is CheckStatus.FAIL
    assert "audio 2 s in 4 frames 56x56" in check.explanation
    assert (check.expected, check.actual) == ("50", "0")


Plant = Callable[[Document], None]


def _set(job: str, label: str, **values: object) -> Plant:
    return lambda document: document.item(job, label).update(values)


def _fact(job: str, **values: object) -> Plant:
    return lambda document: document.job(job)["facts"].update(values)


def _package(which: str, /, **values: object) -> Plant:
    return lambda document: document.package(which).update(values)


def _stop(job: str, outcome: str, message: str = "", **more: object) -> Plant:
    return lambda document: document.stop(job, outcome, message, **more)


def _damage(document: Document) -> None:
    files = document.job("environment")["facts"]["files"]
    bad = {"path": "/opt/venv/x.py", "owner": "x 1", "problem": "changed since it was installed"}
    files.update(damaged=[bad], damaged_count=1)


def _second_metadata(document: Document) -> None:
    entries = document.job("environment")["facts"]["distributions"]
    entries.append({**document.package("transformers"), "version": "4.51.3", "active": False})


def _uncap(document: Document) -> None:
    largest = "2 frames 3584x3584"
    counts = {"formula": 16384, "placeholders": 16384, "embeddings": None}
    document.item("tokens.video", largest).update(counts)
    document.item("engine.vllm", largest).update(embeds=16384, tokens=16384)
    document.job("engine.vllm")["facts"]["dummy"]["video"] = 16384


def _half_audio(document: Document) -> None:
    document.item("tokens.audio", "30 s").update(placeholders=375, embeddings=375)


FAULTS: list[tuple[str, Plant, str, CheckStatus, str, str | None]] = [
    (
        "the processor makes one audio token too few",
        _set("tokens.audio", "2.74 s", placeholders=67),
        "tokens.audio",
        CheckStatus.FAIL,
        "2.74 s: Qwen2_5OmniProcessor put 67 placeholders into the prompt, the encoder makes 68",
        "audio-off-by-one",
    ),
    (
        "the processor's window is half as long",
        _half_audio,
        "tokens.audio",
        CheckStatus.FAIL,
        "30 s: Qwen2_5OmniProcessor put 375 placeholders into the prompt, the formula gives 750",
        "both-otherwise",
    ),
    (
        "the formula is off by one",
        _set("tokens.image", "640x480", formula=392),
        "tokens.image",
        CheckStatus.FAIL,
        "the formula gives 392",
        "both-otherwise",
    ),
    (
        "the processor merges 4 by 4 patches",
        _set("tokens.image", "280x280", placeholders=25),
        "tokens.image",
        CheckStatus.FAIL,
        "put 25 placeholders into the prompt, the encoder makes 100",
        None,
    ),
    (
        "an image yields the placeholders of a video",
        _set("tokens.image", "280x280", placeholders=0, strays={"video": 100}),
        "tokens.image",
        CheckStatus.FAIL,
        "put 0 placeholders",
        None,
    ),
    (
        "an image yields some placeholders of a video besides its own",
        _set("tokens.image", "280x280", strays={"video": 4}),
        "tokens.image",
        CheckStatus.FAIL,
        "yields 4 placeholders of video",
        None,
    ),
    (
        "the video cap is gone",
        _uncap,
        "tokens.video.reserved",
        CheckStatus.FAIL,
        "the spec states 729 video tokens per item, the engine reserves 16384",
        None,
    ),
    (
        "the processor degraded to a bare tokenizer",
        _fact("tokens.image", degraded=True, processor="Qwen2TokenizerFast"),
        "tokens.image",
        CheckStatus.FAIL,
        "bare Qwen2TokenizerFast",
        "processor-degraded",
    ),
    (
        "the tokenizer lacks the special token",
        _fact("tokens.video", token_splits_into=9),
        "tokens.video",
        CheckStatus.FAIL,
        "splits <|VIDEO|> into 9 ids",
        "tokenizer-splits-token",
    ),
    (
        "the tokenizer and the model mean different ids",
        _fact("tokens.image", token_id=262, model_token_id=263),
        "tokens.image",
        CheckStatus.FAIL,
        "is 262 to the tokenizer, but the model inserts embeddings at 263",
        "token-ids-differ",
    ),
    (
        "torchvision is missing",
        _stop("tokens.video", "error", "ImportError: requires the Torchvision library"),
        "tokens.video",
        CheckStatus.ERROR,
        "Torchvision",
        "torchvision-missing",
    ),
    (
        "torchvision belongs to another torch",
        _stop("tokens.image", "error", "RuntimeError: operator torchvision::nms does not exist"),
        "tokens.image",
        CheckStatus.ERROR,
        "nms does not exist",
        "torchvision-beside-cpu-torch",
    ),
    (
        "torch is missing",
        _stop("tokens.audio", "absent", "torch is not installed"),
        "tokens.audio",
        CheckStatus.FAIL,
        "torch is not installed",
        None,
    ),
    (
        "the logits are not finite (a wrong dtype)",
        _set("tokens.mixed", "all together", finite=False, dtype="torch.float16"),
        "tokens.generate",
        CheckStatus.FAIL,
        "not finite numbers (torch.float16)",
        None,
    ),
    (
        "one modality loses rows when all are together",
        _set("tokens.mixed", "all together", embeddings={"audio": 25, "image": 99, "video": 144}),
        "tokens.generate",
        CheckStatus.FAIL,
        "all together: placeholders",
        None,
    ),
    (
        "generation raises",
        _set("tokens.mixed", "audio alone", error="RuntimeError: shape mismatch"),
        "tokens.generate",
        CheckStatus.FAIL,
        "audio alone: RuntimeError: shape mismatch",
        None,
    ),
    (
        "the encoder runs out of memory",
        _set("tokens.image", "1280x720", error="RuntimeError: out", error_kind="memory"),
        "tokens.image",
        CheckStatus.ERROR,
        "image 1280x720 cannot be processed",
        "dense-attention-mask",
    ),
    (
        "the process is killed for memory",
        _stop("tokens.video", "memory", doing="counting video 8 frames 640x360"),
        "tokens.video",
        CheckStatus.ERROR,
        "out of memory while counting video 8 frames 640x360",
        None,
    ),
    (
        "the encoder segfaults",
        _stop("tokens.video", "crashed", exit_code=-11, doing="counting video"),
        "tokens.video",
        CheckStatus.ERROR,
        "ended with SIGSEGV while counting video",
        None,
    ),
    (
        "the processor hangs",
        _stop("tokens.audio", "timeout", seconds=600.0, doing="loading the model's processor"),
        "tokens.audio",
        CheckStatus.ERROR,
        "killed after 600 s while loading the model's processor",
        None,
    ),
    (
        "another version is installed",
        _package("transformers", version="4.57.6"),
        "environment.packages",
        CheckStatus.FAIL,
        "states transformers 4.52.4, but 4.57.6 is what Python imports",
        None,
    ),
    (
        "the environment holds a package that is not locked",
        _package("tokenizers", name="stowaway"),
        "environment.packages",
        CheckStatus.FAIL,
        "(and 1 more finding)",
        None,
    ),
    (
        "an older version's metadata was left",
        _second_metadata,
        "environment.packages",
        CheckStatus.FAIL,
        "two sets of metadata",
        None,
    ),
    (
        "a file was changed",
        _damage,
        "environment.files",
        CheckStatus.FAIL,
        "/opt/venv/x.py (of x 1): changed since it was installed",
        None,
    ),
    (
        "a requirement is not met",
        _fact(
            "environment",
            broken_requirements=[{"by": "a 1", "needs": "b<2", "found": "2.1"}],
        ),
        "environment.requirements",
        CheckStatus.FAIL,
        "a 1 needs b<2, and 2.1 is installed",
        None,
    ),
    (
        "an import crashes",
        _stop("import.transformers", "crashed", exit_code=-6, doing="import transformers"),
        "environment.import.transformers",
        CheckStatus.FAIL,
        "cannot be imported: the process ended with SIGABRT",
        None,
    ),
    (
        "an import ends by a signal without a name",
        _stop("import.transformers", "crashed", exit_code=-35),
        "environment.import.transformers",
        CheckStatus.FAIL,
        "the process ended with signal 35",
        None,
    ),
    (
        "no time was left for an import",
        _stop("import.transformers", "timeout", seconds=0.0),
        "environment.import.transformers",
        CheckStatus.ERROR,
        "not started: the other checks took all of the time limit",
        None,
    ),
    (
        "pip's cache is left",
        lambda document: document.job("caches")["items"].append(
            {"tool": "pip", "path": "/root/.cache/pip", "bytes": 1000}
        ),
        "caches",
        CheckStatus.FAIL,
        "pip left 1000 bytes in /root/.cache/pip",
        None,
    ),
    (
        "bytecode of another source is left",
        _fact("caches", stale_bytecode=["/opt/venv/a.pyc"]),
        "caches",
        CheckStatus.FAIL,
        "/opt/venv/a.pyc was compiled from another source",
        None,
    ),
    (
        "the engine declares no maximum for audio",
        _fact("engine.vllm", declared={"image": 16384, "video": 32768}),
        "engine.reserve",
        CheckStatus.FAIL,
        "none for audio",
        "engine-audio-undeclared",
    ),
    (
        "the engine declares nothing, and profiles without any video",
        _fact("engine.vllm", declared=None, dummy={"audio": 750, "image": 16384}),
        "engine.reserve",
        CheckStatus.FAIL,
        "a dummy input (audio 750, image 16384) that has no video",
        None,
    ),
    (
        "no sample was counted",
        lambda document: document.job("tokens.image").update(items=[]),
        "tokens.image",
        CheckStatus.ERROR,
        "nothing was counted",
        None,
    ),
    (
        "no prompt was run",
        lambda document: document.job("tokens.mixed").update(items=[]),
        "tokens.generate",
        CheckStatus.ERROR,
        "nothing was counted",
        None,
    ),
    (
        "the engine declares less than its dummy yields",
        _fact("engine.vllm", declared={"audio": 750, "image": 16384, "video": 700}),
        "engine.reserve",
        CheckStatus.FAIL,
        "declares 700 video tokens per item, its own dummy yields 729",
        "max-video-below-reserve",
    ),
    (
        "the engine declares less than a legal item yields",
        _fact("engine.vllm", declared={"audio": 750, "image": 16384, "video": 1000}),
        "engine.counts",
        CheckStatus.FAIL,
        "8 frames 640x360: vLLM declares at most 1000 tokens per item, this one yields 1196",
        "max-video-below-reserve",
    ),
    (
        "the engine drops max_pixels for videos",
        _set("engine.tight", "2 frames 1120x1120", embeds=729),
        "engine.limit",
        CheckStatus.FAIL,
        "max_pixels allows 484 tokens, vLLM 0.8.5.post1 makes 729",
        "max-pixels-dropped",
    ),
    (
        "the engine's ranges and its prompt differ",
        _set("engine.vllm", "280x280", tokens=101),
        "engine.counts",
        CheckStatus.FAIL,
        "ranges hold 100 embeddings, its prompt 101 placeholders",
        "literal-placeholder",
    ),
    (
        "the engine and the processor count differently",
        _set("engine.vllm", "2.74 s", embeds=69, tokens=69),
        "engine.counts",
        CheckStatus.FAIL,
        "vLLM 0.8.5.post1 makes 69 placeholders, transformers' own processor 68",
        "audio-off-by-one",
    ),
    (
        "the engine does not go with this transformers",
        _stop("engine.vllm", "error", "AttributeError: all_special_tokens_extended"),
        "engine.reserve",
        CheckStatus.ERROR,
        "all_special_tokens_extended",
        "transformers-too-new",
    ),
]


@pytest.mark.parametrize(
    ("plant", "name", "status", "words", "cause"),
    [pytest.param(*fault[1:], id=fault[0]) for fault in FAULTS],
)
def test_planted_fault_turns_red_and_is_explained(
    plant: Plant, name: str, status: CheckStatus, words: str, cause: str | None
) -> None:
    document = Document()
    plant(document)
    report = document.report()
    check = next(check for check in report.checks if check.name == name)
    assert check.status is status
    told = " ".join([check.explanation, *check.details["findings"]])
    assert words in told
    assert (check.cause.id if check.cause else None) == cause
    assert not report.ok
    assert report.verdict in (CheckStatus.FAIL, CheckStatus.ERROR)


def test_at_least_twenty_faults_are_planted() -> None:
    assert len({fault[0] for fault in FAULTS}) >= 20


def test_debians_packages_are_never_extra() -> None:
    document = Document()
    entries = document.job("environment")["facts"]["distributions"]
    system = [entry["name"] for entry in entries if not entry["owned"]]
    assert "torch" in system
    assert document.check("environment.packages").status is CheckStatus.PASS


def test_a_commit_must_be_the_locked_one() -> None:
    document = Document()
    document.package("transformers")["commit"] = "b" * 40
    expected = tuple(
        dataclasses.replace(item, commit="a" * 40) if item.name == "transformers" else item
        for item in PLAN.expected
    )
    check = document.check("environment.packages", _plan(expected=expected))
    assert check.status is CheckStatus.FAIL
    assert "locked to commit " + "a" * 40 in check.explanation


def test_no_model_skips_the_counts_and_says_so() -> None:
    document = Document()
    document.drop("tokens.audio", "tokens.image", "tokens.video", "tokens.mixed")
    check = document.check("tokens", _plan(models=()))
    assert check.status is CheckStatus.SKIP
    assert "names no smoke.model" in check.explanation


def test_samples_that_no_model_counts_are_unproven() -> None:
    document = Document()
    document.drop("tokens.audio", "tokens.image", "tokens.video", "tokens.mixed")
    sample = OwnSample(path=Path("a.png"), modality="image", label="a.png")
    report = document.report(_plan(models=(), samples=(sample,)))
    check = next(one for one in report.checks if one.name == "tokens")
    assert check.status is report.verdict is CheckStatus.UNPROVEN
    assert "its samples were not counted" in check.explanation


def test_a_model_that_nobody_can_prompt_is_unproven_with_the_reason() -> None:
    document = Document()
    for name in ("audio", "image", "video", "mixed"):
        document.stop(f"tokens.{name}", "inapplicable", "no chat template")
    document.stop("engine.vllm", "inapplicable", "no chat template")
    document.drop("engine.tight")
    report = document.report(stating({}))
    told = {check.name: check for check in report.checks if "no chat template" in check.explanation}
    assert {name for name, check in told.items() if check.status is CheckStatus.UNPROVEN} == {
        "tokens.audio", "tokens.image", "tokens.video",
    }  # fmt: skip
    assert {name for name, check in told.items() if check.status is CheckStatus.SKIP} == {
        "tokens.generate", "engine.vllm",
    }  # fmt: skip
    assert report.verdict is CheckStatus.UNPROVEN
    assert not report.ok
    assert report.passes(allow_unproven=True)
    assert report.summary.startswith("unproven: 3 of ")
    conform(report)


def test_without_vllm_the_engine_is_skipped() -> None:
    document = Document()
    document.stop("engine.vllm", "absent", "vLLM is not installed")
    assert document.check("engine.vllm").status is CheckStatus.SKIP
    assert document.report().ok


def test_a_stated_number_needs_a_modality_that_exists() -> None:
    document = Document()
    document.stop("tokens.audio", "inapplicable", "llava has no audio")
    check = document.check("tokens.audio")
    assert check.status is CheckStatus.FAIL
    assert "llava has no audio" in check.explanation


@pytest.mark.parametrize(
    ("facts", "status", "words"),
    [
        ({"torch_cuda": None}, CheckStatus.FAIL, "built for the CPU alone"),
        ({"torch_cuda": "12.4", "arch_list": ["sm_80"]}, CheckStatus.FAIL, "no NVIDIA driver"),
        (
            {"torch_cuda": "12.8", "driver_cuda": "12.4", "unavailable": "too old"},
            CheckStatus.FAIL,
            "the driver serves CUDA 12.4, torch wants 12.8",
        ),
    ],
)
def test_a_required_gpu_is_missed(
    facts: dict[str, object], status: CheckStatus, words: str
) -> None:
    document = Document()
    document.job("gpu")["facts"] = {"torch": "2.6.0", "driver_cuda": None, **facts}
    check = document.check("gpu", _plan(gpu="required"))
    assert check.status is status
    assert words in check.explanation


def test_a_cpu_build_beside_a_driver_is_no_failure_where_no_gpu_is_required() -> None:
    document = Document()
    facts = {"torch": "2.6.0", "torch_cuda": None, "driver": "550.54.14", "driver_cuda": "12.4"}
    document.job("gpu")["facts"] = facts
    check = document.check("gpu", _plan(gpu="auto"))
    assert check.status is CheckStatus.SKIP
    assert check.explanation == "torch 2.6.0 is built for the CPU alone"
    assert document.check("gpu", _plan(gpu="required")).status is CheckStatus.FAIL


def test_a_gpu_that_ends_the_process_is_told_though_none_is_required() -> None:
    document = Document()
    facts = {"torch": "2.6.0", "torch_cuda": "12.4", "driver_cuda": "12.4", "arch_list": ["sm_90"]}
    document.stop("gpu", "crashed", exit_code=-11, facts=facts, doing="multiplying on device 0")
    check = document.check("gpu", _plan(gpu="auto"))
    assert check.status is CheckStatus.ERROR
    assert "SIGSEGV while multiplying on device 0" in check.explanation


def test_a_device_without_code_for_it_is_red() -> None:
    document = Document()
    gpu = document.job("gpu")
    gpu["facts"] = {
        "torch": "2.6.0",
        "torch_cuda": "12.4",
        "driver_cuda": "12.8",
        "arch_list": ["sm_80", "sm_90"],
    }
    gpu["items"] = [{"name": "B200", "capability": "10.0", "memory": 1, "computes": True}]
    check = document.check("gpu")
    assert check.status is CheckStatus.FAIL
    assert "carries no code for B200 (compute capability 10.0)" in check.explanation


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ("8.0", ["sm_80"], True),
        ("8.6", ["sm_80"], True),
        ("8.0", ["sm_86"], False),
        ("9.0", ["sm_80"], False),
        ("9.0", ["sm_80", "compute_80"], True),
        ("9.0", ["sm_90a"], True),
        ("10.0", ["sm_90a"], False),
        ("12.0", ["sm_90", "compute_90"], True),
        ("10.3", ["sm_100f"], True),
        ("10.3", ["compute_100f"], True),
        ("10.3", ["sm_100a"], False),
        ("12.0", ["sm_100f", "compute_100f"], False),
        ("10.0", ["sm_103f"], False),
    ],
)
def test_which_code_runs_on_which_device(capability: str, built: list[str], runs: bool) -> None:
    assert runs_on(capability, built) is runs


def test_the_report_names_the_gpu_and_its_driver() -> None:
    document = Document()
    assert "gpu" not in document.report().environment
    document.job("gpu")["facts"]["driver"] = "550.54.14"
    device = {"name": "NVIDIA H100", "capability": "9.0", "memory": 1, "computes": True}
    document.job("gpu")["items"] = [device]
    named = document.report().environment["gpu"]
    assert named == {"name": "NVIDIA H100", "driver": "550.54.14"}
