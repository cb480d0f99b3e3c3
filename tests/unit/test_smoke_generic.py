"""A model that no family describes: which id is counted, and what stands in the prompt."""

import contextlib
import json
import math
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest

from envbuilder.smoke.probe import edges, families, films, formulas, mixed, tokens
from envbuilder.smoke.probe.facts import Absent, Inapplicable, Unasked, Uncountable
from envbuilder.smoke.probe.families import _encoders, _marks, _prompts, base, generic
from envbuilder.smoke.probe.samples import Sample

VOCABULARY = {"<image>": 5, "<start_of_image>": 6, "<video>": 7, "<patch>": 8}


class Tokenizer:
    def get_vocab(self) -> dict[str, int]:
        return VOCABULARY

    def convert_ids_to_tokens(self, number: int) -> str | None:
        return {number: token for token, number in VOCABULARY.items()}.get(number)


class Ids(list[int]):
    """As much of a tensor of one prompt as counting asks for."""

    def __getitem__(self, _: Any) -> Any:
        return types.SimpleNamespace(tolist=lambda: list(self))


class Gemma:
    """A processor as Gemma 3's: what marks an image in a prompt is not what is repeated."""

    image_token = "<start_of_image>"
    image_processor = object()
    tokenizer = Tokenizer()
    chat_template: str | None = "{{ … }}"
    repeats = 5

    def __call__(self, text: list[str], images: list[Any], return_tensors: str) -> dict[str, Ids]:
        assert return_tensors == "pt"
        assert text[0].count("<start_of_image>") == len(images) == 1
        return {"input_ids": Ids([1, 6, *[self.repeats] * 256])}

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool) -> str:
        assert not tokenize
        parts = [part.get("text", "<start_of_image>") for part in messages[0]["content"]]
        return f"{messages[0]['role']}: {''.join(parts)}"


class Joining(Gemma):
    """A processor whose template joins strings, as Granite Speech's does."""

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool) -> str:
        assert not tokenize
        return "user: " + messages[0]["content"]  # type: ignore[no-any-return]


class Doubling(Gemma):
    """A processor whose template writes an image twice."""

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool) -> str:
        said = super().apply_chat_template(messages, tokenize=tokenize)
        return said.replace("<start_of_image>", "<start_of_image>" * 2)


class Losing(Gemma):
    """A processor whose template loses what is no text."""

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool) -> str:
        said = super().apply_chat_template(messages, tokenize=tokenize)
        return said.replace("<start_of_image>", "")


class Silent(Gemma):
    chat_template = None


class Films(Gemma):
    """A processor as SmolVLM's: ``<film>`` is no token, its frames are pictures."""

    image_token = "<image>"
    video_token = "<film>"
    video_processor = object()


def _bound(monkeypatch: pytest.MonkeyPatch, processor: Any, **config: object) -> generic.Generic:
    monkeypatch.setattr(base.Family, "load_config", lambda *_: types.SimpleNamespace(**config))
    monkeypatch.setattr(Sample, "make", lambda _: "an item")
    monkeypatch.setattr(films, "options", lambda _: {})
    found = generic.FAMILY.bound(processor, "directory")
    assert isinstance(found, generic.Generic)
    return found


def test_the_id_that_the_configuration_names_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    family = _bound(monkeypatch, Gemma(), image_token_index=5)
    assert list(family.modalities) == ["image"]
    assert family.modalities["image"].token == "<image>"
    assert family.token_id("image", None) == family.model_token_id("image", "") == 5
    assert family.prompt(["image", "image"]) == "user: <start_of_image><start_of_image>Describe."


def test_a_processor_that_repeats_another_id_is_told_from_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor = Gemma()
    processor.repeats = 6  # its own mark, where the model waits for 5
    family = _bound(monkeypatch, processor, image_token_id=5)
    assert (family.token_id("image", None), family.model_token_id("image", "")) == (6, 5)


def test_frames_of_a_video_may_be_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    family = _bound(monkeypatch, Films(), image_token_id=5)
    assert {kind: family.token_id(kind, None) for kind in family.modalities} == {
        "image": 5, "video": 5,
    }  # fmt: skip
    assert not family.together
    assert family.strangers(["video"]) == []
    assert family.prompt(["video"]) == "<film>Describe."  # the template has no films


def test_one_modality_without_an_id_leaves_the_others_countable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor = Gemma()
    processor.audio_token = "<noise>"  # type: ignore[attr-defined]
    processor.feature_extractor = object()  # type: ignore[attr-defined]
    family = _bound(monkeypatch, processor, image_token_id=5)
    assert list(family.modalities) == ["image"]
    assert "<noise>" in family.uncounted["audio"]


@pytest.mark.parametrize(
    ("encoders", "expected"),
    [
        ({}, ["image", "video"]),
        ({"vision_config": object()}, ["image", "video"]),
        ({"audio_config": None}, ["image", "video"]),
        ({"vision_config": None, "audio_config": object()}, ["audio"]),
    ],
)
def test_what_a_configuration_says_it_has_no_encoder_for_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, encoders: dict[str, object], expected: list[str]
) -> None:
    processor: Any = Films()
    names = ["image", "video"]
    if "audio_config" in encoders:
        processor.feature_extractor, processor.audio_token = object(), "<patch>"
        names.append("audio")
    stated = {f"{kind}_token_id": number for number, kind in enumerate(names, 5)}
    family = _bound(monkeypatch, processor, **stated, **encoders)
    assert list(family.modalities) == expected
    assert family.uncounted == {}


def test_a_model_that_names_no_token_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = types.SimpleNamespace(tokenizer=Tokenizer())
    with pytest.raises(Absent, match="no image, video or audio token"):
        _bound(monkeypatch, bare)


@pytest.mark.parametrize(("kind", "start"), [(Gemma, "user: "), (Joining, "user: "), (Silent, "")])
def test_a_prompt_holds_its_items_whatever_the_template_takes(kind: Any, start: str) -> None:
    prompt = _prompts.write(kind(), {"image": "<start_of_image>"}, ["image", "image"])
    assert prompt == f"{start}<start_of_image><start_of_image>Describe."


def test_a_template_that_doubles_an_item_is_sent_as_it_is() -> None:
    marks = {"image": "<start_of_image>"}
    doubled = _prompts.write(Doubling(), marks, ["image"])
    assert doubled == "user: <start_of_image><start_of_image>Describe."
    assert _prompts.write(Losing(), marks, ["image"]) == "<start_of_image>Describe."
    both = {**marks, "audio": "<sound>"}
    assert not _prompts.holds("<start_of_image><sound>Describe.", both, ["image"])


def test_the_id_may_stand_with_the_encoder() -> None:
    encoder = types.SimpleNamespace(image_token_id=7)
    config = types.SimpleNamespace(vision_config=encoder)
    assert _marks.stated_id(config, "image") == 7
    assert _marks.stated_id(config, "audio") is None
    config.image_token_index = 5
    assert _marks.stated_id(config, "image") == 5


@pytest.mark.parametrize(("counts", "expected"), [({5: 9}, 5), ({6: 9}, 6), ({6: 1}, 5), ({}, 5)])
def test_what_is_repeated_is_what_is_counted(counts: dict[int, int], expected: int) -> None:
    mark = _marks.Mark("<image>", 5, 5)
    assert _marks.repeated(counts, mark, {"own": 6}) == expected


def test_a_wrapper_is_asked_by_the_arguments_of_its_body() -> None:
    class Body:
        def get_audio_features(self, input_features: int, scale: int = 1) -> int:
            return input_features * scale

    class Model:
        model = Body()
        config = object()

        def get_audio_features(self, *args: Any, **kwargs: Any) -> int:
            return self.model.get_audio_features(*args, **kwargs)

    family = base.Family()
    assert family.encoded(Model(), "get_audio_features", {"input_features": 3, "text": 1}) == 3
    with pytest.raises(Unasked, match="Body has no get_image_features"):
        family.encoded(Body(), "get_image_features", {})


def test_what_its_body_would_take_is_not_given_to_a_method_that_takes_less() -> None:
    """As LLaVA-OneVision's in transformers 4.54.1, whose body knows another ``vision_…``."""

    class Body:
        def get_image_features(self, pixels: int, vision_ratio: str = "") -> int:
            raise AssertionError(f"{pixels} {vision_ratio}")

    class Model:
        model = Body()
        config = types.SimpleNamespace(vision_ratio="wide")

        def get_image_features(self, pixels: int) -> int:
            return pixels

    assert base.Family().encoded(Model(), "get_image_features", {"pixels": 7}) == 7


def test_settings_of_the_encoder_are_found_where_the_version_keeps_them() -> None:
    class Model:
        config = types.SimpleNamespace(vision_config=types.SimpleNamespace(vision_layer=-1))

        def get_image_features(self, pixel_values: int, vision_layer: int) -> int:
            return pixel_values + vision_layer

        def get_video_features(self, grid: int) -> int:
            return grid

    family = base.Family()
    assert family.encoded(Model(), "get_image_features", {"pixel_values": 3}) == 2
    with pytest.raises(Unasked, match="get_video_features of Model asks for grid"):
        family.encoded(Model(), "get_video_features", {})


class Deaf(base.Family):
    """A family whose encoder this version gives no way to ask."""

    modalities: ClassVar = {"audio": base.Modality("<a>", "<a>", "audio", "get_audio_features")}
    settings: ClassVar = {}

    def formula(self, *_: Any) -> Any:
        return 4, None

    def counted(self, *_: Any) -> dict[str, int]:
        return {"audio": 4}

    def length(self, _: Any) -> int:
        return 6


def test_an_encoder_that_cannot_be_asked_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    model = types.SimpleNamespace(config=None)
    torch = types.SimpleNamespace(inference_mode=contextlib.nullcontext)
    monkeypatch.setitem(sys.modules, "torch", torch)
    subject: Any = types.SimpleNamespace(family=Deaf(), model=model, processor=None)
    sample = Sample("audio", "small", (16000,))
    found = tokens._counts(subject, sample, sample, {})
    assert (found["formula"], found["placeholders"], found["embeddings"]) == (4, 4, None)
    assert found["note"] == "the encoder cannot be asked: SimpleNamespace has no get_audio_features"
    assert mixed._rows(subject, ["audio"], {}) == (
        {}, {"audio": "SimpleNamespace has no get_audio_features"},
    )  # fmt: skip


def test_a_modality_that_cannot_be_counted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    family = base.Family()
    family.uncounted = {"audio": "no id for its <noise>"}
    subject = types.SimpleNamespace(family=family)
    monkeypatch.setattr(tokens, "opened", lambda _: contextlib.nullcontext(subject))
    with pytest.raises(Uncountable, match="cannot be counted: no id for its <noise>"):
        tokens.run({}, lambda **_: None, "audio")  # type: ignore[arg-type]


def _directory(folder: Path, config: dict[str, Any], processor: str | None) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    if processor:
        text = json.dumps({"processor_class": processor, "size": {"longest_edge": 1024}})
        (folder / "processor_config.json").write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("vision", "processor", "expected"),
    [
        ("clip_vision_model", "LlavaProcessor", "llava"),
        ("clip_vision_model", None, "llava"),
        (None, "LlavaProcessor", "llava"),
        ("pixtral", "PixtralProcessor", "generic"),
        ("pixtral", None, "generic"),
        ("clip_vision_model", "PixtralProcessor", "generic"),
    ],
)
def test_a_family_is_chosen_by_model_encoder_and_processor_together(
    tmp_path: Path, vision: str | None, processor: str | None, expected: str
) -> None:
    config: dict[str, Any] = {"model_type": "llava", "vision_config": {}}
    if vision:
        config["vision_config"]["model_type"] = vision
    assert families.of_directory(_directory(tmp_path, config, processor)).name == expected


def test_an_unknown_models_samples_are_searched_by_its_own_files(tmp_path: Path) -> None:
    directory = _directory(tmp_path, {"model_type": "new"}, "NewProcessor")
    found = families.of_directory(directory).samples("image")
    assert any(max(sample.shape) > 1024 > min(sample.shape) for sample in found)


# --- samples that search ----------------------------------------------------------------------


def _turns(stated: dict[str, Any], right: Any, wrong: Any) -> list[tuple[int, ...]]:
    """Return the shapes of the samples for ``stated`` that two ways to count tell apart."""
    found = [sample.shape for sample in edges.samples("image", stated)]
    return [shape for shape in found if right(*shape) != wrong(*shape)]


@pytest.mark.parametrize("name", ["round", "ceil", "floor_patches", "merge_after", "round_up"])
@pytest.mark.parametrize(("cap", "patch", "merge"), [(1540, 14, 2), (1024, 16, 1)])
def test_a_rounding_that_is_wrong_meets_a_sample(
    name: str, cap: int, patch: int, merge: int
) -> None:
    """The faults are those of transformers 4.48 to 4.50: rounding while scaling, or merging."""
    import math

    unit = patch * merge
    scale = {"round": round, "ceil": math.ceil}.get(name, math.floor)
    cut = {"floor_patches": math.floor, "round_up": lambda side: math.floor(side + 0.5)}

    def count(height: int, width: int, scaling: Any, cutting: Any, unit: int) -> int:
        ratio = max(1.0, max(height, width) / cap)
        high, wide = (scaling(side / ratio) if ratio > 1 else side for side in (height, width))
        return max(1, cutting(high / unit)) * max(1, cutting(wide / unit))

    def right(height: int, width: int) -> int:
        return count(height, width, math.floor, math.ceil, unit)

    def wrong(height: int, width: int) -> int:
        if name == "merge_after":
            return count(height, width, math.floor, math.ceil, patch) // merge**2
        return count(height, width, scale, cut.get(name, math.ceil), unit)

    stated = {"patch_size": patch, "spatial_merge_size": merge, "size": {"longest_edge": cap}}
    if name == "merge_after" and merge == 1:
        assert not _turns(stated, right, wrong)  # nothing to merge, nothing to find
    else:
        assert _turns(stated, right, wrong)


@pytest.mark.parametrize("modality", ["audio", "image", "video"])
def test_the_search_has_a_budget(modality: str) -> None:
    for stated in ({}, {"size": {"longest_edge": 4000}, "patch_size": {"height": 99}}):
        found = edges.samples(modality, stated)
        assert len(found) <= edges.BUDGET[modality]
        assert [sample.role for sample in found].count("small") == 1
        assert len({sample.label for sample in found}) == len(found)


@pytest.mark.parametrize(
    "stated",
    [{"size": 7}, {"size": {}}, {"patch_size": "x", "chunk_length": -1}, {"crop_size": [0]}],
)
def test_values_that_are_none_of_ours_leave_the_common_samples(stated: dict[str, Any]) -> None:
    for modality in edges.COMMON:
        assert len(edges.samples(modality, stated)) >= len(edges.COMMON[modality])


def test_a_films_facts_are_those_of_all_its_frames() -> None:
    frames = types.SimpleNamespace(shape=(5, 240, 320, 3))
    handed, facts = films.with_metadata(frames)
    assert handed is frames
    assert facts["frames_indices"] == [0, 1, 2, 3, 4]
    assert facts["total_num_frames"] == facts["duration"] * facts["fps"] == 5
    assert facts["do_sample_frames"] is False


# --- formulas: against what transformers' own encoders made -----------------------------------

SIGLIP = types.SimpleNamespace(image_size=512, patch_size=16)
MEASURED = [
    ("PixtralProcessor", "image", (480, 640), 414),
    ("PixtralProcessor", "image", (366, 1547), 715),
    ("PixtralProcessor", "image", (279, 281), 110),
    ("SmolVLMProcessor", "image", (49, 1323), 320),
    ("SmolVLMProcessor", "image", (480, 640), 832),
    ("SmolVLMProcessor", "video", (5, 113, 111), 320),
    ("Llama4Processor", "image", (49, 1323), 720),
    ("Llama4Processor", "image", (336, 336), 144),
    ("Llama4Processor", "image", (337, 336), 432),
    ("Llama4Processor", "image", (673, 336), 576),
    ("Glm4vProcessor", "image", (1323, 49), 94),
    ("Glm4vProcessor", "image", (480, 640), 391),
    ("Glm4vProcessor", "image", (210, 224), 64),
    ("GraniteSpeechProcessor", "audio", (16000,), 12),
    ("GraniteSpeechProcessor", "audio", (48000,), 30),
    ("GraniteSpeechProcessor", "audio", (48160,), 33),
    ("GraniteSpeechProcessor", "audio", (400,), 3),
    ("Gemma3Processor", "image", (49, 1323), 256),
    ("PaliGemmaProcessor", "image", (49, 1323), 256),
    ("Qwen3VLProcessor", "image", (49, 1323), 82),
    ("Qwen3VLProcessor", "image", (480, 640), 300),
    ("Qwen3VLProcessor", "image", (256, 239), 72),
    ("Qwen3VLProcessor", "image", (256, 241), 64),
    ("AyaVisionProcessor", "image", (364, 364), 169),
    ("AyaVisionProcessor", "image", (729, 364), 507),
]
STATED: dict[str, dict[str, Any]] = {
    "PixtralProcessor": {"size": {"longest_edge": 1540}},
    "SmolVLMProcessor": {
        "size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512},
    },
    "Llama4Processor": {"size": {"height": 336, "width": 336}, "max_patches": 16},
    "Glm4vProcessor": {"size": {"shortest_edge": 12544, "longest_edge": 9633792}},
    "Qwen3VLProcessor": {"size": {"shortest_edge": 65536, "longest_edge": 16777216}},
    "AyaVisionProcessor": {"max_patches": 12},
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "PixtralProcessor": {
        "spatial_merge_size": 2, "vision_config": types.SimpleNamespace(patch_size=14),
    },
    "SmolVLMProcessor": {"scale_factor": 4, "vision_config": SIGLIP},
    "Llama4Processor": {
        "vision_config": types.SimpleNamespace(
            image_size=336, patch_size=14, pixel_shuffle_ratio=0.5
        )
    },
    "Glm4vProcessor": {
        "vision_config": types.SimpleNamespace(patch_size=14, spatial_merge_size=2),
    },
    "Qwen3VLProcessor": {
        "vision_config": types.SimpleNamespace(patch_size=16, spatial_merge_size=2),
    },
    "AyaVisionProcessor": {
        "downsample_factor": 2,
        "vision_config": types.SimpleNamespace(image_size=364, patch_size=14),
    },
    "GraniteSpeechProcessor": {"window_size": 15, "downsample_rate": 5},
    "Gemma3Processor": {"mm_tokens_per_image": 256},
    "PaliGemmaProcessor": {"vision_config": types.SimpleNamespace(image_size=224, patch_size=14)},
}  # fmt: skip


@pytest.mark.parametrize(("processor", "modality", "shape", "tokens"), MEASURED)
def test_formulas_give_what_encoders_made(
    processor: str, modality: str, shape: tuple[int, ...], tokens: int
) -> None:
    """The counts are rows that transformers 5.24's encoders returned for these items."""
    known = formulas.of(type(processor, (), {})())
    assert known is not None
    config = types.SimpleNamespace(**CONFIG[processor])
    sample = Sample(modality, "edge", shape)
    assert known.tokens(sample, STATED.get(processor, {}), config) == tokens


@pytest.mark.parametrize(
    "processor",
    [
        "PixtralProcessor",
        "SmolVLMProcessor",
        "Llama4Processor",
        "Qwen3VLProcessor",
        "AyaVisionProcessor",
    ],
)
def test_a_formula_is_silent_where_the_files_do_not_say(processor: str) -> None:
    known = formulas.of(type(processor, (), {})())
    assert known is not None
    config = types.SimpleNamespace(**CONFIG[processor])
    assert known.tokens(Sample("image", "edge", (480, 640)), {}, config) is None


class Tensor:
    """As much of a tensor as counting its rows asks for."""

    def __init__(self, *shape: int, total: int = 0) -> None:
        self.shape, self._total = shape, total

    def numel(self) -> int:
        return math.prod(self.shape)

    def sum(self) -> int:
        return self._total


@pytest.mark.parametrize(
    ("made", "mask", "expected"),
    [
        (Tensor(1, 21, 64), None, 21),
        (Tensor(1, 21, 64), Tensor(1, 21, total=20), 20),
        (Tensor(1, 21, 64), Tensor(1, 84, total=80), 21),  # of the frames, not of the rows
        ([Tensor(10, 64), Tensor(5, 64)], Tensor(1, 84, total=80), 15),
    ],
)
def test_rows_of_padding_do_not_count_where_a_mask_tells_them(
    made: Any, mask: Tensor | None, expected: int
) -> None:
    output = types.SimpleNamespace(pooler_output=made, attention_mask=mask)
    assert _encoders.rows(output) == expected


LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300}
BRINGS_CODE = {"auto_map": {"AutoConfig": "mine.Config"}}
TOKENIZER = "tokenizer_config.json"


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand for a release that knows a few models, by class, and those that have a processor."""
    auto = "transformers.models.auto."
    lists = {
        "processing_auto": {"PROCESSOR_MAPPING_NAMES": {"chameleon": "ChameleonProcessor"}},
        "feature_extraction_auto": {},
        "image_processing_auto": {"IMAGE_PROCESSOR_MAPPING_NAMES": {"vit": "ViTImageProcessor"}},
    }
    for name, lines in lists.items():
        monkeypatch.setitem(sys.modules, auto + name, types.SimpleNamespace(**lines))
    # a release without processors of videos: import says so of a name that stands for None
    monkeypatch.setitem(sys.modules, auto + "video_processing_auto", None)
    takes = {
        "LlamaForCausalLM": "input_ids",
        "LlamaModel": "input_ids",
        "Qwen3ForSequenceClassification": "input_ids",
        "T5ForConditionalGeneration": "input_ids",
        "ChameleonForConditionalGeneration": "input_ids",
        "Glm4vVisionModel": "input_ids",
        "ViTModel": "pixel_values",
        "Wav2Vec2ForCTC": "input_values",
    }
    known = {name: types.SimpleNamespace(main_input_name=what) for name, what in takes.items()}
    types_known = ("llama", "qwen3", "t5", "chameleon", "glm4v_vision", "vit", "wav2vec2")
    release = types.SimpleNamespace(CONFIG_MAPPING=dict.fromkeys(types_known), **known)
    monkeypatch.setitem(sys.modules, "transformers", release)


def _of(kind: str, name: str) -> dict[str, Any]:
    return {"model_type": kind, "architectures": [name]}


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize(
    ("more", "files", "name"),
    [
        ({}, {}, "text model"),
        ({"architectures": ["GPT2LMHeadModel"]}, {}, "text model"),
        (_of("llama", "LlamaModel"), {}, "text model"),
        (_of("qwen3", "Qwen3ForSequenceClassification"), {}, "text model"),
        (_of("t5", "T5ForConditionalGeneration"), {}, "text model"),
        (BRINGS_CODE, {}, "text model"),
        ({"label2id": {"image": 0, "video": 1}}, {}, "text model"),
        ({}, {TOKENIZER: {"processor_class": "Gemma3Processor"}}, "text model"),
        ({}, {TOKENIZER: {"processor_class": None}}, "text model"),
        ({"architectures": []}, {}, "generic"),
        ({"architectures": ["NewForConditionalGeneration"]}, {}, "generic"),
        (_of("new", "LlamaModel"), {}, "generic"),
        ({**BRINGS_CODE, **_of("new", "LlamaForCausalLM")}, {}, "generic"),
        ({**BRINGS_CODE, **_of("llama", "MineForCausalLM")}, {}, "generic"),
        ({"vision_config": {}}, {}, "generic"),
        ({"image_token_id": 5}, {}, "generic"),
        ({"media_placeholder_token_id": 5}, {}, "generic"),
        ({"thinker_config": {"audio_config": {}}}, {}, "generic"),
        (_of("glm4v_vision", "Glm4vVisionModel"), {}, "generic"),
        (_of("chameleon", "ChameleonForConditionalGeneration"), {}, "generic"),
        (_of("vit", "ViTModel"), {}, "generic"),
        (_of("wav2vec2", "Wav2Vec2ForCTC"), {}, "generic"),
        ({}, {"preprocessor_config.json": {}}, "generic"),
        ({}, {"processor_config.json": {}}, "generic"),
        ({}, {"video_preprocessor_config.json": {}}, "generic"),
    ],
)
def test_a_model_takes_text_alone_if_nothing_says_otherwise(
    tmp_path: Path, more: dict[str, Any], files: dict[str, Any], name: str
) -> None:
    for file, value in {"config.json": {**LLAMA, **more}, **files}.items():
        (tmp_path / file).write_text(json.dumps(value))
    assert families.of_directory(str(tmp_path)).name == name


@pytest.mark.parametrize("head", [True, False])
def test_a_text_model_without_a_head_is_not_asked_to_generate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bool
) -> None:
    kind = types.SimpleNamespace(can_generate=lambda: head)
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(LlamaForCausalLM=kind))
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    family = families.of_directory(str(tmp_path))
    assert family.generates() is head
    subject = types.SimpleNamespace(family=family, processor=None, quantised=None)
    monkeypatch.setattr(mixed, "opened", lambda _: contextlib.nullcontext(subject))
    # it goes on to the model, which is not there, or says that there is nothing to ask
    expected, words = (AttributeError, "model") if head else (Inapplicable, "has no head that")
    with pytest.raises(expected, match=words):
        mixed.run({}, lambda **_: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a"', "config.json is not JSON: Expecting ':' delimiter"),
        ("\0", "config.json is not JSON: Expecting value"),
        ("[]", "config.json holds no JSON object"),
    ],
)
def test_a_configuration_that_is_none_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        families.of_directory(str(tmp_path))
