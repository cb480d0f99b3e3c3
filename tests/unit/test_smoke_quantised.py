"""Quantised weights: items are counted all the same, and nobody claims that the model answered."""

import contextlib
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from envbuilder.smoke.local_model import LocalModel
from envbuilder.smoke.probe import mixed, model, tokens
from envbuilder.smoke.probe.facts import Facts, Inapplicable
from envbuilder.smoke.probe.families import base
from envbuilder.smoke.probe.families._model_files import quantised
from envbuilder.smoke.probe.model import Subject

AWQ = {"quantization_config": {"quant_method": "awq", "bits": 4}}


class Loaded(base.Family):
    """A family whose model takes note of being loaded, and cannot be."""

    name = "loaded"
    modalities: ClassVar = {"image": base.Modality("<i>", "<i>", "images", "get_image_features")}

    def __init__(self) -> None:
        self.loads = 0

    def load_processor(self, _: str) -> Any:
        return object()

    def load_model(self, _: str, **__: bool) -> Any:
        self.loads += 1
        raise OSError("size mismatch")


def _model(folder: Path, config: Facts, *files: str) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    for name in files:
        (folder / name).write_text("{}")
    return str(folder)


@pytest.mark.parametrize(
    ("config", "files", "method"),
    [
        ({}, (), None),
        ({"quantization_config": None}, (), None),
        (AWQ, (), "awq"),
        ({"quantization_config": {"load_in_8bit": True}}, (), "by a method without a name"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, (), "compressed-tensors"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, (), "fp8"),
        ({"thinker_config": {"text_config": AWQ}}, (), "awq"),
        ({}, ("hf_quant_config.json",), "modelopt"),
        ({}, ("quantize_config.json",), "gptq"),
        ({}, ("quant_config.json",), "awq"),
    ],
)
def test_the_method_is_read_where_tools_write_it(
    tmp_path: Path, config: Facts, files: tuple[str, ...], method: str | None
) -> None:
    assert quantised(_model(tmp_path, config, *files)) == method


def test_encoders_are_built_in_the_place_of_quantised_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = object()
    monkeypatch.setattr(model, "encoders", lambda *_: built)
    family = Loaded()
    assert Subject(family, _model(tmp_path, AWQ), weights=True).model is built
    assert not family.loads
    with pytest.raises(OSError, match="size mismatch"):
        _ = Subject(family, _model(tmp_path, {}), weights=True).model


def test_nothing_is_generated_with_quantised_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(Loaded(), _model(tmp_path, AWQ), weights=True)
    monkeypatch.setattr(mixed, "opened", lambda _: contextlib.nullcontext(subject))
    with pytest.raises(Inapplicable, match=r"the weights are quantised \(awq\)"):
        mixed.run({}, lambda **_: None)  # type: ignore[arg-type]


def test_a_model_that_cannot_be_loaded_ends_the_count_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, told = Loaded(), []
    subject = Subject(family, _model(tmp_path, {}), weights=True)
    monkeypatch.setattr(tokens, "opened", lambda _: contextlib.nullcontext(subject))
    monkeypatch.setattr(tokens, "facts_of", lambda *_: {})
    with pytest.raises(OSError, match="size mismatch"):
        tokens.run({}, lambda **line: told.append(line), "image")  # type: ignore[arg-type]
    assert family.loads == 1
    assert not [line for line in told if "item" in line]


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("model.safetensors", True),
        ("model-00001-of-00002.safetensors", True),
        ("pytorch_model.bin", True),
        ("pytorch_model-00001-of-00002.bin", True),
        ("training_args.bin", False),
        ("optimizer.bin", False),
        ("adapter_model.safetensors", False),
    ],
)
def test_weights_are_what_transformers_loads(tmp_path: Path, name: str, weights: bool) -> None:
    (tmp_path / name).write_bytes(b"")
    assert LocalModel(mounted=tmp_path).has_weights is weights
