"""Formulas of the newest families, against numbers worked out by hand or published."""

import base64
import copy
import importlib
import io
import json
import types
import wave
from array import array
from pathlib import Path
from typing import Any

import pytest

from envbuilder.smoke.probe import edges, families, formulas, model, samples
from envbuilder.smoke.probe.facts import Uncountable
from envbuilder.smoke.probe.families._encoders import handed
from envbuilder.smoke.probe.families._from_files import FromFiles
from envbuilder.smoke.probe.families.base import Modality
from envbuilder.smoke.probe.families.voxtral import FAMILY as VOXTRAL
from envbuilder.smoke.probe.families.voxtral import wav


def _read(config: object) -> Any:
    """Return nested dictionaries as objects, as transformers reads config.json."""
    if isinstance(config, dict):
        return types.SimpleNamespace(**{name: _read(value) for name, value in config.items()})
    return config


def _tokens(name: str, modality: str, shape: tuple[int, ...], folder: Path) -> object:
    """Count by the formula of a family's own files, as any model directory is counted."""
    families.load(name).write(str(folder))
    family = families.of_directory(str(folder))
    assert isinstance(family, FromFiles)
    known = formulas.BY_PROCESSOR[family.processor_class]
    formula = importlib.import_module(f"envbuilder.smoke.probe.formulas.{known}")
    config = _read(json.loads((folder / "config.json").read_text()))
    return formula.tokens(samples.Sample(modality, "edge", shape), family.stated, config)


@pytest.mark.parametrize(
    ("name", "modality", "shape", "tokens"),
    [
        # a square of 384 px in patches of 16, whatever the image
        ("deepseek_vl", "image", (49, 1323), 24 * 24),
        # 1024 px over 16 px and 4 of a side: 16 by 16; tiles of 768 px: 12 by 12; one that ends it
        ("deepseek_ocr2", "image", (768, 768), 256 + 1),
        ("deepseek_ocr2", "image", (769, 768), 256 + 4 * 144 + 1),
        ("deepseek_ocr2", "image", (49, 1323), 256 + 6 * 144 + 1),
        ("deepseek_ocr2", "image", (2049, 1024), 256 + 2 * 144 + 1),
        # 448 px over 14 px and a stride of 2: 16 by 16; the whole one beside several tiles
        ("ovis2", "image", (280, 280), 256),
        ("ovis2", "image", (448, 448), 256),
        ("ovis2", "image", (897, 448), 3 * 256),
        ("ovis2", "image", (480, 640), 5 * 256),
        ("ovis2", "image", (2000, 2000), 13 * 256),
        # 512 px over 16 px, 2 by 2 shuffled: 16 by 16
        ("cohere2_vision", "image", (512, 512), 256),
        ("cohere2_vision", "image", (513, 512), 3 * 256),
        ("cohere2_vision", "image", (1025, 512), 4 * 256),
        ("cohere2_vision", "image", (2000, 2000), 10 * 256),
        # whole pairs of patches of 16 px, 64 to 256 of them; above 512 tiles of 256
        ("lfm2_vl", "image", (512, 512), 256),
        ("lfm2_vl", "image", (256, 256), 64),
        ("lfm2_vl", "image", (32, 32), 64),
        ("lfm2_vl", "image", (2048, 1024), 8 * 256 + 22 * 11),
        # whole pairs of patches of 14 px, padded up; four frames are one
        ("kimi_k25", "image", (28, 28), 1),
        ("kimi_k25", "image", (29, 28), 2),
        ("kimi_k25", "image", (480, 640), 18 * 23),
        ("kimi_k25", "image", (3584, 3584), 64 * 64),
        ("kimi_k25", "image", (28, 14336), 256),
        ("kimi_k25", "image", (28, 20000), 256),
        ("kimi_k25", "video", (4, 112, 112), 16),
        ("kimi_k25", "video", (5, 112, 112), 2 * 16),
        ("kimi_k25", "video", (1, 3584, 3584), 32 * 32),
        # 448 px over 14 px and 4 of a side: 8 by 8; slices beside it
        ("minicpmv4_6", "image", (448, 448), 64),
        ("minicpmv4_6", "image", (896, 896), 64 + 4 * 64),
        ("minicpmv4_6", "image", (1344, 1344), 64 + 9 * 64),
        ("minicpmv4_6", "video", (3, 448, 448), 3 * 64),
        ("minicpmv4_6", "video", (2, 896, 896), 2 * 5 * 64),
        # 16 by 16 and its lines' ends for the view, one between, then what the image fills
        ("phi4_multimodal", "image", (448, 448), 272 + 1 + 16 * 17),
        ("phi4_multimodal", "image", (896, 448), 272 + 1 + 32 * 17),
        ("phi4_multimodal", "image", (480, 640), 272 + 1 + 24 * 33),
        ("phi4_multimodal", "image", (640, 480), 272 + 1 + 32 * 25),
        # (samples - 400) // 160 + 1 mel frames, eight of them a token
        ("phi4_multimodal", "audio", (16000,), 13),
        ("phi4_multimodal", "audio", (13199,), 10),
        ("phi4_multimodal", "audio", (13200,), 11),
        ("phi4_multimodal", "audio", (400,), 1),
        # of GLM-4.1V's videos, whose limits are in a file of their own: two frames are a step
        ("glm4v", "video", (2, 336, 336), 144),
        ("glm4v", "video", (3, 336, 336), 2 * 144),
        ("glm4v", "video", (8, 1344, 1344), 4 * 48 * 48),
        ("glm4v", "video", (200, 1344, 1344), 100 * 25 * 25),
        ("gemma3n", "image", (49, 1323), 256),
        ("gemma3n", "audio", (16000,), 188),
        ("gemma3n", "audio", (480000,), 188),
    ],
)
def test_a_new_family_is_counted_as_its_own_code_does(
    name: str, modality: str, shape: tuple[int, ...], tokens: int, tmp_path: Path
) -> None:
    assert _tokens(name, modality, shape, tmp_path) == tokens


@pytest.mark.parametrize(
    ("seconds", "tokens"), [(0.025, 375), (30, 375), (30.01, 750), (60, 750), (61, 1125)]
)
def test_sound_fills_whole_windows_of_voxtral(seconds: float, tokens: int) -> None:
    (sample,) = samples.audio(("edge", seconds))
    config = _read(VOXTRAL.config(VOXTRAL.ids()))
    assert VOXTRAL.formula(sample, None, config) == (tokens, None)


def test_a_sound_is_handed_over_as_a_wav_file() -> None:
    file = io.BytesIO(base64.b64decode(wav([0.0, 0.5, 1.0, -2.0])))
    with wave.open(file) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate()) == (1, 2, 16000)
        assert array("h", read.readframes(9)).tolist() == [0, 16383, 32767, -32767]


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("gemma3n", "gemma3n needs timm"),
        ("voxtral", r"needs mistral-common\[audio\] and soundfile"),
    ],
)
def test_what_a_model_needs_beside_transformers_is_named(
    name: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = families.load(name)
    monkeypatch.setattr(model, "find_spec", lambda _: types.SimpleNamespace(origin="x.py"))
    model.has_needed(family)
    for absent in None, types.SimpleNamespace(origin=None):  # nothing, or a folder without code
        monkeypatch.setattr(model, "find_spec", lambda _, found=absent: found)
        with pytest.raises(Uncountable, match=lacking):
            model.has_needed(family)


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"processor_config.json": {"video_processor": {"max_soft_tokens": 140}}}, 140),
        ({"video_preprocessor_config.json": {"max_soft_tokens": 280}}, 280),
        ({"preprocessor_config.json": {"max_soft_tokens": 560}}, 560),
        (
            {
                "processor_config.json": {"video_processor": {"max_soft_tokens": 140}},
                "video_preprocessor_config.json": {"max_soft_tokens": 280},
                "preprocessor_config.json": {"max_soft_tokens": 560},
            },
            140,
        ),
        (
            {
                "processor_config.json": {"image_processor": {"max_soft_tokens": 1120}},
                "video_preprocessor_config.json": {"max_soft_tokens": 280},
                "preprocessor_config.json": {"max_soft_tokens": 560},
            },
            280,
        ),
        ({"processor_config.json": {"image_processor": {"max_soft_tokens": 1120}}}, None),
    ],
)
def test_the_settings_of_videos_are_those_that_transformers_takes(
    files: dict[str, object], most: int | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(json.dumps(text))
    films = edges.processor_files(str(tmp_path))["video_processor"]
    assert films.get("max_soft_tokens") == most


def test_a_directory_of_gemma_4_with_a_file_for_videos_is_counted_by_it(tmp_path: Path) -> None:
    families.load("gemma4").write(str(tmp_path))
    path = tmp_path / "processor_config.json"
    stated = json.loads(path.read_text())
    films = stated.pop("video_processor")
    path.write_text(json.dumps(stated))
    own = tmp_path / "video_preprocessor_config.json"
    own.write_text(json.dumps({**films, "max_soft_tokens": 280}))
    family = families.of_directory(str(tmp_path))
    assert isinstance(family, FromFiles)
    config = _read(json.loads((tmp_path / "config.json").read_text()))
    film = samples.Sample("video", "edge", (3, 768, 768))
    tokens = importlib.import_module("envbuilder.smoke.probe.formulas.gemma4").tokens
    assert tokens(film, family.stated, config) == 3 * 16 * 16


def test_videos_are_searched_by_their_own_steps() -> None:
    films = {"temporal_patch_size": 4}
    found = list(edges.clips({"temporal_patch_size": 2, "video_processor": films}))
    assert [frames for frames, _, _ in found] == [9, 15, 16]


@pytest.mark.parametrize(
    ("stated", "side"),
    [({"tile_size": 768}, 768), ({"scale_resolution": 448}, 448), ({"size": {"height": 336}}, 336)],
)
def test_images_are_searched_around_the_tile(stated: dict[str, Any], side: int) -> None:
    shapes = set(edges.images(stated))
    assert {(side - 1, side), (side, side), (side + 1, side)} <= shapes


def test_sound_is_searched_where_another_mel_frame_starts() -> None:
    assert (12800 + 400,) in list(edges.sounds({}))


def test_a_call_is_stopped_where_what_it_hands_over_is_known() -> None:
    class Part:
        def insert(self, *_: object, **__: object) -> None:
            raise AssertionError("it went on")

    part = Part()

    def forward() -> None:
        part.insert("rows", mask=1)

    assert handed(part, "insert", forward) == {"0": "rows", "mask": 1}
    with pytest.raises(AssertionError, match="went on"):
        part.insert()


def test_ovis2_is_counted_without_its_marks_where_they_come_along() -> None:
    """transformers 4.57 returns the rows of the five marks around an image beside the image's."""

    def rows(count: int) -> Any:
        return types.SimpleNamespace(numel=lambda: 64 * count, shape=(count, 64))

    class Old:
        config = types.SimpleNamespace()

        def get_image_features(self, pixel_values: object) -> tuple[Any, Any]:
            return pixel_values, rows(5)

    class New(Old):
        def get_image_features(self, pixel_values: object) -> Any:
            return types.SimpleNamespace(pooler_output=pixel_values)

    family = copy.copy(families.load("ovis2"))
    family.modalities = {"image": Modality("<IMG_ATOM>", "<image>", "images", "get_image_features")}
    for model_class in Old, New:
        assert family.features(model_class(), "image", {"pixel_values": rows(256)}) == 256


def test_gemma_3n_is_not_asked_for_less_than_a_frame_of_sound(tmp_path: Path) -> None:
    families.load("gemma3n").write(str(tmp_path))
    family = families.of_directory(str(tmp_path))
    lengths = [sample.shape[0] for sample in family.samples("audio")]
    assert min(lengths) > 512
    assert {16000, 43840, 480000} <= set(lengths)
    assert len(family.samples("image")) == edges.BUDGET["image"]
