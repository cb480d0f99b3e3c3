"""The cause book: every page answers a fault in what was recorded, and no other page does."""

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from envbuilder.smoke import Check, judge
from envbuilder.smoke.causes import book, search
from tests.unit.smoke_documents import PLAN, Document, sound_start

Plant = Callable[[Document], None]


def _item(job: str, label: str, /, facts: dict[str, Any] | None = None, **counts: object) -> Plant:
    """Let a job have counted one item otherwise, with other facts about it."""

    def plant(document: Document) -> None:
        document.job(job)["facts"].update(facts or {})
        document.item(job, label).update(counts)

    return plant


def _fact(job: str, **facts: object) -> Plant:
    return lambda document: document.job(job)["facts"].update(facts)


def _raised(job: str, message: str) -> Plant:
    return lambda document: document.stop(job, "error", message)


def _stopped_engine(resolved: str, message: str) -> Plant:
    """Let the engine have resolved the architecture to ``resolved``, and then have stopped."""

    def plant(document: Document) -> None:
        document.job("engine.vllm")["facts"]["resolved"] = resolved
        document.stop("engine.vllm", "error", message)

    return plant


def _refused(family: str, error: str) -> Plant:
    """Let the model of ``family`` have raised ``error`` when it generated."""

    def plant(document: Document) -> None:
        document.job("tokens.mixed")["facts"]["family"] = family
        document.job("tokens.mixed")["items"] = [{"label": "all together", "error": error}]

    return plant


def _start(links: Sequence[str] = (), **facts: Any) -> Plant:
    """Let the image start otherwise: one link of the chain per problem."""

    def plant(document: Document) -> None:
        job = sound_start()
        for name, value in facts.items():
            known = job["facts"][name]
            job["facts"][name] = {**known, **value} if isinstance(known, dict) else value
        job["items"] += [
            {"role": "the entry point", "program": "x", "path": None, "problem": problem}
            for problem in links
        ]
        document.value["jobs"].append(job)

    return plant


LLAVA, FLAMINGO = {"family": "llava"}, {"family": "audioflamingo3", "transformers": "5.1.0"}
ONEVISION = {"family": "llava_onevision", "transformers": "4.48.0"}


def _import(message: str) -> Plant:
    return lambda document: document.stop("import.transformers", "error", message)


def _unbuilt(message: str) -> Plant:
    """Let transformers have failed to build the model, with ``message``."""

    def plant(document: Document) -> None:
        failure = {"kind": "error", "message": message}
        job = {"name": "architecture", "outcome": "error", "failure": failure}
        document.value["jobs"].append({**job, "seconds": 1.0, "facts": {}, "items": []})

    return plant


def _view_lost(document: Document) -> None:
    """Let every image that has more than 391 tokens lack as many."""
    for item in document.job("tokens.image")["items"]:
        item["placeholders"] -= 391 * (item["placeholders"] > 391)


def _frames_lost(document: Document) -> None:
    """Let every video lose what follows its whole steps of two frames."""
    for item in document.job("tokens.video")["items"]:
        item["placeholders"] -= item["shape"][0] % 2


def _long_sounds_cut(document: Document) -> None:
    """Let an unknown model's sounds above 30 s have the placeholders of two windows too many."""
    document.job("tokens.audio")["facts"]["family"] = "generic"
    for item in document.job("tokens.audio")["items"]:
        item["placeholders"] += 1500 * (item["shape"][0] > 480000)


PAGES: dict[str, tuple[Plant, str]] = {
    "architecture-unknown": (
        _unbuilt(
            "ValueError: The checkpoint you are trying to load has model type `qwen9` but "
            "Transformers does not recognize this architecture."
        ),
        "architecture",
    ),
    "model-brings-code": (
        _unbuilt(
            "ValueError: Loading x requires you to execute the configuration file in that repo on "
            "your local machine. Make sure you have read the code there to avoid malicious use, "
            "then set the option `trust_remote_code=True` to remove this error."
        ),
        "architecture",
    ),
    "audio-generate-call": (
        _refused(
            "qwen2_audio",
            "TypeError: Qwen2AudioForConditionalGeneration.forward() got an unexpected keyword "
            "argument 'cache_position'",
        ),
        "tokens.generate",
    ),
    "audio-off-by-one": (_item("tokens.audio", "2.74 s", placeholders=69), "tokens.audio"),
    "entry-point-missing": (
        _start(args=["vllm"], links=["there is no such program"]),
        "start.program",
    ),
    "home-not-writable": (_start(home={"writable": False}), "start.user"),
    "libgl-missing": (
        _import("ImportError: libGL.so.1: cannot open shared object file: No such file"),
        "environment.import.transformers",
    ),
    "libsndfile-missing": (
        _import("OSError: sndfile library not found using ctypes.util.find_library"),
        "environment.import.transformers",
    ),
    "image-seq-length": (
        _item(
            "tokens.image",
            "280x280",
            {"family": "generic", "processor": "Gemma3Processor"},
            placeholders=25,
        ),
        "tokens.image",
    ),
    "mark-is-counted": (
        _item(
            "tokens.image",
            "280x280",
            {"family": "gemma3", "processor": "Gemma3Processor"},
            placeholders=1,
        ),
        "tokens.image",
    ),
    "merge-size-lost": (
        _item("tokens.image", "280x280", {"family": "mistral3"}, placeholders=400),
        "tokens.image",
    ),
    "llama4-image-outputs": (
        _refused(
            "generic",
            "AttributeError: 'MoeCausalLMOutputWithPast' object has no attribute 'image_outputs'",
        ),
        "tokens.generate",
    ),
    "mistral3-rounding": (
        _item(
            "tokens.image",
            "640x480",
            {"family": "generic", "processor": "PixtralProcessor", "transformers": "4.50.0"},
            placeholders=374,
            formula=414,
            embeddings=374,
        ),
        "tokens.image",
    ),
    "engine-mistral3-stride": (
        _item(
            "engine.vllm",
            "280x280",
            {"processor": "Mistral3MultiModalProcessor"},
            embeds=81,
            tokens=81,
        ),
        "engine.counts",
    ),
    "pkg-resources-gone": (
        _import("ModuleNotFoundError: No module named 'pkg_resources'"),
        "environment.import.transformers",
    ),
    "tls-roots-missing": (_start(roots=False, read_roots=["aiohttp"]), "start.tls"),
    "user-without-a-name": (
        _start(user={"problem": "KeyError: 'getpwuid(): uid not found: 1000'"}),
        "start.user",
    ),
    "both-otherwise": (_item("tokens.image", "640x480", formula=392), "tokens.image"),
    "sides-swapped": (_item("tokens.image", "640x480", formula=414, turned=391), "tokens.image"),
    "view-missing": (_view_lost, "tokens.image"),
    "view-separator": (
        _item("tokens.image", "280x280", {"family": "deepseek_ocr2"}, placeholders=99),
        "tokens.image",
    ),
    "rest-of-frames": (_frames_lost, "tokens.video"),
    "sound-cut": (_long_sounds_cut, "tokens.audio"),
    "template-doubles": (
        _item(
            "tokens.image",
            "280x280",
            error="ValueError: The total number of <image> tokens in the prompts should be the "
            "same as the number of images passed. Found total 2 <image> tokens and 1 images.",
            error_kind="error",
        ),
        "tokens.image",
    ),
    "class-token": (_item("tokens.image", "280x280", LLAVA, placeholders=99), "tokens.image"),
    "cuda-audio-beside-cpu-torch": (
        _raised("engine.vllm", "OSError: Could not load torchaudio/lib/_torchaudio.so"),
        "engine.reserve",
    ),
    "dense-attention-mask": (
        _item("tokens.image", "1280x720", error="RuntimeError: no", error_kind="memory"),
        "tokens.image",
    ),
    "engine-audio-undeclared": (
        _fact("engine.vllm", declared={"image": 16384, "video": 32768}),
        "engine.reserve",
    ),
    "engine-by-transformers": (
        _stopped_engine(
            "TransformersMultiModalForCausalLM",
            "AttributeError: 'Ovis2Processor' object has no attribute '_get_num_multimodal_tokens'",
        ),
        "engine.reserve",
    ),
    "engine-refuses-modality": (
        _fact("engine.vllm", refused=["video"], modalities=["audio", "image"]),
        "engine.reserve",
    ),
    "engine-reserves-squares": (
        _item(
            "engine.vllm",
            "280x280",
            {"resolved": "TransformersMultiModalForCausalLM", "declared": {"image": 99}},
            embeds=100,
            tokens=100,
        ),
        "engine.counts",
    ),
    "flamingo-rows-of-padding": (
        _item("tokens.audio", "1 s", FLAMINGO, embeddings=50),
        "tokens.audio",
    ),
    "granite-several-sounds": (
        _refused(
            "granite_speech",
            "ValueError: Number of audio tokens does not match number of audio features",
        ),
        "tokens.generate",
    ),
    "internvl-several-videos": (
        _refused("internvl", "ValueError: Image features and image tokens do not match: 4"),
        "tokens.generate",
    ),
    "kimi-video-split": (
        _refused(
            "kimi_k25",
            "RuntimeError: split_with_sizes expects split_sizes to sum exactly to 16 (input "
            "tensor's size at dimension 0), but got split_sizes=[32]",
        ),
        "tokens.generate",
    ),
    "libstdcxx-too-old": (
        _raised("engine.vllm", "ImportError: version `GLIBCXX_3.4.32' not found"),
        "engine.reserve",
    ),
    "literal-placeholder": (_item("engine.vllm", "280x280", tokens=101), "engine.counts"),
    "max-pixels-dropped": (
        _item("engine.tight", "2 frames 1120x1120", embeds=729),
        "engine.limit",
    ),
    "max-video-below-reserve": (
        _fact("engine.vllm", declared={"audio": 750, "image": 16384, "video": 700}),
        "engine.reserve",
    ),
    "omni-image-beside-video": (
        _refused("qwen3_omni_moe", "RuntimeError: shape mismatch: value tensor of shape [100]"),
        "tokens.generate",
    ),
    "omni-long-audio": (_item("tokens.audio", "301 s", placeholders=7525), "tokens.audio"),
    "processor-call-changed": (
        _raised("engine.vllm", "ValueError: Failed to apply Qwen2_5OmniProcessor on data={}"),
        "engine.reserve",
    ),
    "processor-library-missing": (
        _raised(
            "tokens.image",
            "ImportError: Package `num2words` is required to run SmolVLM processor. Install it.",
        ),
        "tokens.image",
    ),
    "processor-degraded": (
        _fact("tokens.image", degraded=True, processor="Qwen2TokenizerFast"),
        "tokens.image",
    ),
    "processor-video-cap": (
        _fact(
            "engine.vllm",
            declared={"audio": 750, "image": 16384, "video": 16384},
            start_up="The processed dummy data has a total of …",
        ),
        "engine.reserve",
    ),
    "rounding-of-grids": (
        _item("tokens.image", "1323x49", ONEVISION, placeholders=1056, embeddings=1274),
        "tokens.image",
    ),
    "setuptools-missing": (
        _raised("engine.vllm", "ModuleNotFoundError: No module named 'setuptools'"),
        "engine.reserve",
    ),
    "start-up-assertion": (
        _raised("engine.vllm", "AssertionError: The processed dummy data has a total of {}"),
        "engine.reserve",
    ),
    "token-ids-differ": (_fact("tokens.image", token_id=1, model_token_id=2), "tokens.image"),
    "tokenizer-splits-token": (_fact("tokens.video", token_splits_into=9), "tokens.video"),
    "torchvision-beside-cpu-torch": (
        _raised("tokens.image", "RuntimeError: operator torchvision::nms does not exist"),
        "tokens.image",
    ),
    "torchvision-missing": (
        _raised("tokens.video", "ImportError: requires the Torchvision library"),
        "tokens.video",
    ),
    "transformers-too-new": (
        _raised("engine.vllm", "AttributeError: all_special_tokens_extended"),
        "engine.reserve",
    ),
    "video-mask-of-images": (
        _refused("qwen2_vl", "ValueError: Video features and video tokens do not match: tokens: 0"),
        "tokens.generate",
    ),
}


def _check(plant: Plant, name: str) -> Check:
    document = Document()
    plant(document)
    return document.check(name, PLAN)


@pytest.mark.parametrize("page", [entry.cause.id for entry in book()])
def test_every_page_answers_a_fault(page: str) -> None:
    check = _check(*PAGES[page])
    assert check.cause is not None, check
    assert check.cause.id == page


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        pytest.param(
            _item(
                "tokens.image", "280x280", LLAVA,
                error="ModuleNotFoundError: No module named 'torch_other'", error_kind="error",
            ),
            "tokens.image",
            id="an exception is not the class token",
        ),
        pytest.param(
            _item("tokens.image", "280x280", LLAVA, placeholders=25), "tokens.image",
            id="75 tokens are not a class token",
        ),
        pytest.param(
            _item(
                "tokens.image", "1323x49", {**ONEVISION, "transformers": "4.52.4"},
                placeholders=1056,
            ),
            "tokens.image",
            id="a release that rounds rightly",
        ),
        pytest.param(
            _item(
                "tokens.image", "1280x720", {"transformers": "5.23.0"},
                error="RuntimeError: no", error_kind="memory",
            ),
            "tokens.image",
            id="a release without the dense mask",
        ),
    ],
)  # fmt: skip
def test_no_page_takes_what_is_not_its_own(plant: Plant, name: str) -> None:
    assert _check(plant, name).cause is None


def test_a_missing_library_is_named_for_every_family() -> None:
    missing = "ModuleNotFoundError: No module named 'torchvision'"
    plant = _item("tokens.image", "280x280", LLAVA, error=missing, error_kind="error")
    cause = _check(plant, "tokens.image").cause
    assert cause is not None
    assert cause.id == "torchvision-missing"


def test_every_kind_of_the_book_is_one_that_the_judge_emits() -> None:
    said = {
        f"job-{outcome}" for outcome in ("absent", "inapplicable", "error", "memory", "crashed")
    }
    said |= {"item-memory", "item-undecodable"}
    for path in Path(judge.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        said |= {value for value in constants if isinstance(value, str)}
    for entry in book():
        kinds = entry.match["kind"]
        assert said.issuperset([kinds] if isinstance(kinds, str) else kinds), entry.cause.id


def test_llava_next_without_its_additional_token_has_the_same_cause() -> None:
    plant = _item("tokens.image", "280x280", {"family": "llava_next"}, placeholders=99)
    cause = _check(plant, "tokens.image").cause
    assert cause is not None
    assert cause.id == "class-token"


@pytest.mark.parametrize("page", book(), ids=lambda page: page.cause.id)
def test_every_page_says_who_disagrees_in_which_versions_and_where_to_read_on(page: Any) -> None:
    assert page.seen
    assert page.between
    assert page.affects
    assert page.cause.link.startswith("https://")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SigLIP", {"class-token"}),
        ("libgl1 headless", {"libgl-missing"}),
        ("ImportError: libGL.so.1: cannot open shared object file", {"libgl-missing"}),
        ("torch.ops: operator torchvision::nms does not exist", {"torchvision-beside-cpu-torch"}),
        ("no page speaks of this", set()),
        ("  ", set()),
    ],
)
def test_the_book_is_searched_by_words_and_by_messages(text: str, found: set[str]) -> None:
    assert {page.cause.id for page in search(text)} == found
