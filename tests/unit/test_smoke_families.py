"""Families: formulas against counts that were measured, and model files that are complete."""

import contextlib
import copy
import importlib
import json
import math
import types
from pathlib import Path
from typing import Any

import jinja2
import pytest

from envbuilder.smoke.probe import bare, families, formulas, samples, sent, tokenizer
from envbuilder.smoke.probe.facts import Absent, Inapplicable
from envbuilder.smoke.probe.families import (
    _anyres,
    _from_files,
    _qwen_vision,
    _whisper,
    audioflamingo3,
    base,
    generic,
    internvl,
    qwen3_omni_moe,
)
from envbuilder.smoke.probe.families._from_files import FromFiles
from envbuilder.smoke.probe.families.qwen3_vl import Qwen3VL
from envbuilder.smoke.probe.formulas import gemma4

PATCHES = {"patch_size": 14, "merge_size": 2}
SIZE = {"shortest_edge": 3136, "longest_edge": 1003520}


@pytest.mark.parametrize(
    ("seconds", "tokens"),
    [(0.05, 1), (1, 25), (2.74, 68), (3.7, 92), (30, 750), (30.01, 750), (300, 7500), (301, 7500)],
)
def test_sound_to_tokens_as_measured(seconds: float, tokens: int) -> None:
    (sample,) = samples.audio(("edge", seconds))
    frames = _whisper.mel_frames(sample, None, 300 * samples.RATE)
    assert _whisper.audio_tokens(frames) == tokens


@pytest.mark.parametrize(
    ("frames", "tokens"),
    [(2, 1), (99, 13), (100, 13), (101, 14), (274, 36), (370, 48), (3000, 390), (30100, 3913)],
)
def test_sound_to_tokens_of_qwen3_omni_as_measured(frames: int, tokens: int) -> None:
    assert qwen3_omni_moe.audio_tokens(frames) == tokens


@pytest.mark.parametrize(
    ("seconds", "tokens"),
    [(1, 25), (2.74, 68), (30, 750), (30.01, 750), (32.74, 818), (75, 1875), (601, 15000)],
)
def test_sound_in_windows_to_tokens_as_measured(seconds: float, tokens: int) -> None:
    (sample,) = samples.audio(("edge", seconds))
    inputs = {"input_features_mask": None}  # only asked between two hops
    assert audioflamingo3.FAMILY.formula(sample, inputs, None) == (tokens, None)


def test_modalities_that_share_a_token_are_no_strangers() -> None:
    assert families.load("internvl").strangers(["video"]) == []
    assert families.load("qwen2_vl").strangers(["video"]) == ["image"]


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (28, 28, 4),
        (280, 280, 100),
        (640, 480, 391),
        (1280, 720, 1196),
        (3584, 3584, 16384),
        (9999, 9999, 16384),
        (1323, 49, 94),
    ],
)
def test_images_to_tokens_as_measured(width: int, height: int, tokens: int) -> None:
    high, wide = _qwen_vision.resized((height, width), _qwen_vision.QWEN2_VL_IMAGES)
    assert high * wide // 28**2 == tokens


def test_patch_grids_to_tokens_as_measured() -> None:
    assert _qwen_vision.vision_tokens((1, 54, 54), 2) == 729
    assert _qwen_vision.vision_tokens((8, 26, 46), 2) == 2392


def test_tiles_without_padding_as_measured() -> None:
    """(49, 1323) is the size of transformers#35775, (161, 184) that of vllm#11704."""
    tiles = [[384 * high, 384 * wide] for high in range(1, 7) for wide in range(1, 7)]
    assert _anyres.best_resolution(49, 1323, tiles) == (384, 1536)
    assert _anyres.unpadded(49, 1323, 27, 108) == (5, 108)
    tall_and_wide = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    assert _anyres.best_resolution(184, 161, tall_and_wide) == (336, 672)
    lines, columns = _anyres.unpadded(184, 161, 24, 48)
    assert 24 * 24 + lines * (columns + 1) == 1128


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(448, 448, (1, 1)), (480, 640, (3, 4)), (49, 1323, (1, 12)), (900, 448, (2, 1))],
)
def test_layout_of_tiles(height: int, width: int, expected: tuple[int, int]) -> None:
    assert internvl.layout(height, width) == expected


@pytest.mark.parametrize("name", families.names())
def test_a_familys_own_directory_is_known_as_its_own(name: str, tmp_path: Path) -> None:
    families.load(name).write(str(tmp_path))
    assert families.of_directory(str(tmp_path)).name == name


@pytest.mark.parametrize("name", families.names())
def test_a_family_writes_a_complete_model_directory(name: str, tmp_path: Path) -> None:
    family = families.load(name)
    family.write(str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == name == family.name
    ids = _special_ids(tmp_path)
    assert ids == family.ids()
    placed = {} if family.counts != "placeholders" else family.modalities
    for modality in placed.values():
        assert modality.token in ids
        assert any(token in modality.wrap for token in ids)
    real = families.of_directory(str(tmp_path))
    assert (type(real), real.settings) == (type(family), family.settings)


def _special_ids(directory: Path) -> dict[str, int]:
    """Return the special tokens that the tokenizer's own file names, beside 256 bytes."""
    own = directory / "tekken.json"  # Mistral's own
    if own.is_file():
        file = json.loads(own.read_text())
        assert len(file["vocab"]) == 256
        named = {token["token_str"]: token["rank"] for token in file["special_tokens"]}
        return {text: rank for text, rank in named.items() if not text.startswith("<SPECIAL_")}
    fast = json.loads((directory / "tokenizer.json").read_text())
    ids = {token["content"]: token["id"] for token in fast["added_tokens"]}
    assert min(ids.values()) == len(fast["model"]["vocab"]) == 256
    return ids


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("preprocessor_config.json", {**PATCHES, "min_pixels": 3136, "max_pixels": 1003520}),
        ("preprocessor_config.json", {**PATCHES, "size": SIZE, "max_pixels": None}),
        ("processor_config.json", {"image_processor": {**PATCHES, "size": SIZE}}),
    ],
)
def test_a_real_model_has_the_settings_of_its_own_files(
    name: str, text: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    (tmp_path / name).write_text(json.dumps(text))
    family = families.of_directory(str(tmp_path))
    assert family.settings == {**PATCHES, "min_pixels": 3136, "max_pixels": 1003520}
    assert families.load("qwen2_5_vl").settings["max_pixels"] == 12845056


def test_what_a_real_models_files_leave_open_is_not_made_up(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "internvl"}')
    assert families.of_directory(str(tmp_path)).settings == {"max_patches": None}


@pytest.mark.parametrize("name", families.names())
def test_a_family_has_a_small_and_a_maximum_sample(name: str) -> None:
    family = families.load(name)
    for modality in family.modalities:
        chosen = family.samples(modality)
        roles = [sample.role for sample in chosen]
        assert roles.count("small") == roles.count("maximum") == 1
        assert "typical" in roles
        assert {sample.modality for sample in chosen} == {modality}
        assert len({sample.label for sample in chosen}) == len(chosen)


ALWAYS = {"image": "1323x49", "audio": "2.74 s"}
"""What docs/how-to/add-a-family.md asks of every family; of videos an odd and a single frame."""


@pytest.mark.parametrize("name", families.names())
def test_a_family_has_the_sizes_where_counts_go_wrong(name: str) -> None:
    family = families.load(name)
    for modality, label in ALWAYS.items():
        if modality in family.modalities:
            assert label in [sample.label for sample in family.samples(modality)]
    if "video" in family.modalities:
        frames = {sample.shape[0] for sample in family.samples("video")}
        assert min(frames) == (4 if isinstance(family, Qwen3VL) else 1)  # it takes no fewer
        assert any(count % 2 for count in frames if count > 1)


def test_a_sounding_video_is_counted_as_two_modalities() -> None:
    for sample in families.load("qwen2_5_omni").sounding:
        clip, sound = sample.parts
        assert (clip.modality, sound.modality) == ("video", "audio")
        assert clip is sample
        assert (len(clip.shape), len(sound.shape)) == (3, 1)
        assert clip.label.split(" with ")[0] == sound.label.split(" in ")[1]


@pytest.mark.parametrize("bundled", [True, False])
@pytest.mark.parametrize("path", [None, "/run/model"])
def test_what_a_server_is_sent_is_counted_whole_and_with_the_text_beside_it(
    monkeypatch: pytest.MonkeyPatch, path: str | None, bundled: bool
) -> None:
    emitted: list[dict[str, Any]] = []

    def call(_processor: object, _items: object, **options: object) -> dict[str, list[int]]:
        return {"input_ids": [1, 7, 9, 7, 9, 2] if options else [1, 9, 2]}

    family = types.SimpleNamespace(
        modalities=["video"], whole={"do_sample_frames": False}, call=call,
        prompt=lambda _: "Describe.",
        counted=lambda _, inputs: {"video": inputs["input_ids"].count(9)},
        length=lambda inputs: len(inputs["input_ids"]),
    )  # fmt: skip

    def tokenizer(_: str) -> dict[str, list[int]]:
        return {"input_ids": [1, 2]}

    processor = types.SimpleNamespace(tokenizer=tokenizer) if bundled else tokenizer
    subject = types.SimpleNamespace(family=family, processor=processor, weights=False)
    monkeypatch.setattr(sent, "opened", lambda _: contextlib.nullcontext(subject))
    monkeypatch.setattr(samples.Sample, "make", lambda _: None)
    wanted = [("video", "2 frames", (2, 56, 56)), ("audio", "1 s", (16000,))]
    request = {"sent": wanted, "model": {"path": path}}
    sent.run(request, lambda **line: emitted.append(line))  # type: ignore[arg-type]
    (facts,) = [line["facts"] for line in emitted if "facts" in line]
    assert facts == {"real": path is not None}  # a folder's own tokenizer, without weights, too
    (item,) = [line["item"] for line in emitted if "item" in line]
    assert item == {"modality": "video", "label": "2 frames", "placeholders": 2, "added": 4}


def test_a_model_of_text_alone_has_nothing_that_a_server_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = types.SimpleNamespace(modalities={}, prompt=lambda _: "Describe.")
    subject = types.SimpleNamespace(family=family, processor=object(), weights=True)
    monkeypatch.setattr(sent, "opened", lambda _: contextlib.nullcontext(subject))
    request = {"sent": [("image", "1x1", (1, 1))], "model": {"path": "/run/model"}}
    with pytest.raises(Inapplicable, match="takes text alone: nothing to compare"):
        sent.run(request, lambda **_: None)  # type: ignore[arg-type]


def test_an_unknown_family_is_answered_with_the_known() -> None:
    with pytest.raises(Absent, match="qwen2_5_omni"):
        families.load("nobody")


def test_the_byte_alphabet_is_a_bijection() -> None:
    alphabet = tokenizer.byte_alphabet()
    assert len(set(alphabet)) == 256
    assert alphabet[ord("A")] == "A"
    assert alphabet[ord(" ")] == "Ġ"


def _read(config: object) -> Any:
    """Return nested dictionaries as objects, as transformers reads config.json."""
    if isinstance(config, dict):
        return types.SimpleNamespace(**{name: _read(value) for name, value in config.items()})
    return config


@pytest.mark.parametrize(
    ("name", "modality", "shape", "tokens"),
    [
        ("gemma3", "image", (480, 640), 256),
        ("paligemma", "image", (480, 640), 256),
        ("llama4", "image", (336, 336), 144),
        ("llama4", "image", (1344, 1344), 17 * 144),
        ("mistral3", "image", (1540, 1540), 3025),
        ("mistral3", "image", (4000, 4000), 3025),
        ("idefics3", "image", (1456, 1456), 17 * 169),
        ("smolvlm", "image", (2048, 2048), 17 * 64),
        ("smolvlm", "video", (5, 512, 512), 5 * 64),
        ("glm4v", "image", (336, 336), 144),
        ("glm4v_moe", "image", (336, 336), 144),
        ("granite_speech", "audio", (30 * samples.RATE,), 300),
    ],
)
def test_what_a_family_of_files_writes_is_counted_as_released(
    name: str, modality: str, shape: tuple[int, ...], tokens: int, tmp_path: Path
) -> None:
    families.load(name).write(str(tmp_path))
    config = _read(json.loads((tmp_path / "config.json").read_text()))
    family = families.of_directory(str(tmp_path))
    assert isinstance(family, FromFiles)
    formula = importlib.import_module(
        f"envbuilder.smoke.probe.formulas.{formulas.BY_PROCESSOR[family.processor_class]}"
    )
    assert formula.tokens(samples.Sample(modality, "edge", shape), family.stated, config) == tokens
    written = families.load(name)
    assert isinstance(written, FromFiles)
    assert modality in written.kinds


@pytest.mark.parametrize(
    ("stated", "most"),
    [
        ({}, 70),
        ({"max_soft_tokens": 280}, 70),
        ({"max_soft_tokens": 280, "video_processor": {"max_soft_tokens": 144}}, 144),
        ({"video_processor": {"num_frames": 32}}, 70),
    ],
)
def test_a_film_of_gemma_4_has_the_limit_that_its_files_state(
    stated: dict[str, Any], most: int
) -> None:
    config = _read({"vision_config": {"patch_size": 16, "pooling_kernel_size": 3}})
    film = samples.Sample("video", "edge", (3, 480, 480))
    side = math.isqrt(most)  # of the square of windows
    assert gemma4.tokens(film, stated, config) == 3 * side**2


def test_a_real_model_need_not_take_what_its_family_takes_and_has_its_own_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = families.load("gemma4")
    written.write(str(tmp_path))
    path = tmp_path / "config.json"
    stated = json.loads(path.read_text())

    def bound(self: generic.Generic, _processor: object, _directory: str) -> generic.Generic:
        found = copy.copy(self)
        found.modalities = {"image": base.Modality("<image>", "<image>", "images", None)}
        return found

    monkeypatch.setattr(generic.Generic, "bound", bound)
    assert set(written.of(str(tmp_path)).bound(object(), "").uncounted) == {"audio", "video"}
    assert families.of_directory(str(tmp_path)).bound(object(), "").uncounted == {}

    monkeypatch.setattr(bare, "weightless", contextlib.nullcontext)
    monkeypatch.setattr(base.Family, "load_config", lambda *_: None)
    monkeypatch.setattr(base.Family, "find_class", lambda _, name: lambda _: name)
    for named, expected in (["Gemma4Other"], "Gemma4Other"), ([], "Gemma4ForConditionalGeneration"):
        path.write_text(json.dumps({**stated, "architectures": named}))
        assert bare.hollow(families.of_directory(str(tmp_path)), str(tmp_path)) == expected


def test_a_formula_counts_by_what_was_released_whatever_was_written(tmp_path: Path) -> None:
    family = families.load("qwen2_5_omni")
    family.write(str(tmp_path))
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chunk_length": 15}))
    assert family.tiny(str(tmp_path)).settings == family.settings
    assert family.of(str(tmp_path)).settings["chunk_length"] == 15


def test_a_template_marks_items_and_keeps_the_text() -> None:
    source = _from_files.chat_template({"image": "<image>", "video": "<video>"})
    parts = [{"type": "image"}, {"type": "text", "text": "Describe."}, {"type": "video"}]
    rendered = jinja2.Template(source).render(messages=[{"role": "user", "content": parts}])
    assert rendered == "<image>Describe.<video>"


def test_a_modality_that_a_release_no_longer_takes_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bound(self: generic.Generic, _processor: object, _directory: str) -> generic.Generic:
        found = copy.copy(self)
        found.modalities = {"image": base.Modality("<image>", "<image>", "images", None)}
        return found

    monkeypatch.setattr(generic.Generic, "bound", bound)
    family = families.load("smolvlm").bound(object(), "directory")
    assert family.uncounted == {"video": "this release's object takes no video"}
