"""Models that no family describes, in the demo's own container: counted, not guessed.

What the encoders really make is compared with placeholders and with an independent formula; one
model is spoilt, so that the same comparison is seen to fail.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.runtime import Prepared
from envbuilder.smoke import CheckStatus, ProbedModel, Report, SmokePlan, smoke
from tests import tiny_models
from tests.unit.smoke_documents import conform

pytestmark = [pytest.mark.integration]

Container = tuple[Prepared, SmokePlan]


COUNTS = {
    "gemma3": ("image", {"280x280": 256, "1323x49": 256}),
    "paligemma": ("image", {"280x280": 256, "1323x49": 256}),
    "pixtral": ("image", {"280x280": 324, "640x480": 1200, "1323x49": 192}),
    "whisper": ("audio", {"1 s": 1500, "30.01 s": 1500}),
}
"""What each model is asked for, and the embeddings of some of its items."""


def _counted(container: Container, models: dict[Path, str]) -> Report:
    """Count each model's modality; the models have the names of their folders."""
    ready, plan = container
    probed = tuple(ProbedModel(path=str(model), label=model.name) for model in models)
    jobs = tuple(f"tokens.{what}@{number}" for number, what in enumerate(models.values()))
    return smoke(ready.run, replace(plan, models=probed, checks=("tokens",), jobs=jobs))


@pytest.fixture(scope="module")
def counted(container: Container, tiny: Path) -> Report:
    return _counted(container, {tiny / name: what for name, (what, _) in COUNTS.items()})


@pytest.mark.parametrize("name", COUNTS)
def test_a_model_is_counted_as_what_it_is(counted: Report, name: str) -> None:
    (found,) = [model for model in counted.models if model.name == name]
    assert found.verdict is CheckStatus.PASS, found.summary
    rows = {row.sample: row for row in dict(counted.rows_by_model())[name]}
    _, counts = COUNTS[name]
    assert {label: rows[label].embeddings for label in counts} == counts
    assert all(row.formula == row.placeholders for row in rows.values())
    assert all(row.embeddings in (row.placeholders, None) for row in rows.values())


def test_a_configuration_of_billions_is_counted_without_weights_beside_another_model(
    container: Container, tiny: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(tiny / "gemma3", tmp_path / "gemma3")
    for weights in bare.glob("*.safetensors"):
        weights.unlink()
    config = json.loads((bare / "config.json").read_text())
    config["text_config"] |= {
        "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
        "layer_types": ["full_attention"] * 34,
    }  # fmt: skip
    (bare / "config.json").write_text(json.dumps(config))
    ready, plan = container
    both = ProbedModel(config=str(bare), label="g"), ProbedModel(path=str(tiny / "paligemma"))
    jobs = ("architecture@0", "tokens.image")
    asked = replace(plan, models=both, checks=("architecture", "tokens"), jobs=jobs)
    report = smoke(ready.run, asked)
    conform(report)
    assert report.verdict is CheckStatus.PASS, report.summary
    assert [model.verdict for model in report.models] == [CheckStatus.PASS] * 2
    checks = {(check.model, check.name): check for check in report.checks}
    assert checks["g", "architecture"].details["facts"]["parameters"] > 3_000_000_000
    assert "no weights" in checks["g", "tokens.generate"].explanation
    tables = dict(report.rows_by_model())
    assert {row.embeddings for row in tables["g"]} == {256}
    assert {row.placeholders for row in tables[str(tiny / "paligemma")]} == {256}
    assert report.peak_memory < 4 << 30


def test_a_model_of_text_alone_is_green_unless_it_shall_take_more(
    container: Container, tiny: Path
) -> None:
    ready, plan = container
    folder = str(tiny / tiny_models.TEXT)
    models = (
        ProbedModel(path=folder, label="whole"),
        ProbedModel(config=folder, label="bare"),
        ProbedModel(config=folder, label="eyed", tokens={"image": 100}),
    )
    report = smoke(ready.run, replace(plan, models=models, checks=("architecture", "tokens")))
    conform(report)
    verdicts = [model.verdict for model in report.models]
    assert verdicts == [CheckStatus.PASS, CheckStatus.PASS, CheckStatus.FAIL], report.summary
    told = {(check.model, check.name): check for check in report.checks}
    assert told["whole", "tokens.generate"].status is CheckStatus.PASS
    assert told["whole", "tokens.image"].status is CheckStatus.SKIP
    assert told["eyed", "tokens.image"].explanation == "text model has no image"


def test_text_models_are_told_by_their_files_and_their_class(
    container: Container, tiny: Path
) -> None:
    ready, plan = container
    models = tuple(ProbedModel(path=str(tiny / name), label=name) for name in tiny_models.TEXTS)
    report = smoke(ready.run, replace(plan, models=models, checks=("architecture", "tokens")))
    conform(report)
    assert report.verdict is CheckStatus.PASS, report.summary
    told = {(check.model, check.name): check for check in report.checks}
    for name, generates in tiny_models.TEXTS.items():
        assert told[name, "tokens.image"].explanation == "text model has no image"
        expected = CheckStatus.PASS if generates else CheckStatus.SKIP
        assert told[name, "tokens.generate"].status is expected
    assert told["bert", "tokens.generate"].explanation == "BertModel has no head that generates"


def test_a_model_that_takes_more_is_no_text_model_though_its_processors_files_are_gone(
    container: Container, tiny: Path, tmp_path: Path
) -> None:
    ready, plan = container
    models = []
    for name, (modality, _) in COUNTS.items():
        folder = shutil.copytree(tiny / name, tmp_path / name)
        for path in [*folder.glob("*processor_config.json")]:
            path.unlink()
        models.append((ProbedModel(path=str(folder), label=name), f"tokens.{modality}"))
    probed = tuple(model for model, _ in models)
    report = smoke(ready.run, replace(plan, models=probed, checks=("tokens",)))
    told = {(check.model, check.name): check for check in report.checks}
    for model, check in models:
        assert told[model.label, check].status in {CheckStatus.FAIL, CheckStatus.ERROR}


def test_a_quantised_model_is_counted_and_nobody_says_that_it_answered(
    container: Container, tiny: Path, tmp_path: Path
) -> None:
    ready, plan = container
    models = []
    for name, method in ("gemma3", "awq"), (tiny_models.TEXT, "compressed-tensors"):
        folder = shutil.copytree(tiny / name, tmp_path / name)
        _change(folder / "config.json", quantization_config={"quant_method": method})
        models.append(ProbedModel(path=str(folder), label=method))
    checks = ("architecture", "tokens")
    report = smoke(ready.run, replace(plan, models=tuple(models), checks=checks))
    conform(report)
    assert report.verdict is CheckStatus.PASS, report.summary
    told = {(check.model, check.name): check for check in report.checks}
    assert told["awq", "tokens.image"].status is CheckStatus.PASS
    assert {row.embeddings for row in dict(report.rows_by_model())["awq"]} == {256}
    for model in models:
        check = told[model.label, "tokens.generate"]
        assert check.status is CheckStatus.SKIP
        assert f"the weights are quantised ({model.label})" in check.explanation


def _change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_processor_that_merges_other_patches_than_its_model_is_red(
    container: Container, tiny: Path, tmp_path: Path
) -> None:
    spoilt = shutil.copytree(tiny / "pixtral", tmp_path / "pixtral")
    _change(spoilt / "processor_config.json", patch_size=32)
    report = _counted(container, {spoilt: "image"})
    assert report.verdict is CheckStatus.FAIL
    rows = {row.sample: row for row in report.tokens}
    assert rows["280x280"].formula == rows["280x280"].embeddings == 324
    assert rows["280x280"].placeholders != 324


def test_a_family_that_needs_more_than_is_installed_is_unproven_and_says_what(
    container: Container,
) -> None:
    ready, plan = container
    models = (ProbedModel(family="gemma3n"), ProbedModel(family="voxtral"))
    jobs = ("architecture", "tokens.audio")
    asked = replace(plan, models=models, checks=("architecture", "tokens"), jobs=jobs)
    report = smoke(ready.run, asked)
    conform(report)
    assert report.verdict is CheckStatus.UNPROVEN, report.summary
    told = {(check.model, check.name): check for check in report.checks}
    for model, lacking in ("gemma3n", "timm"), ("voxtral", "mistral-common[audio] and soundfile"):
        for name in jobs:
            check = told[model, name]
            assert check.status is CheckStatus.UNPROVEN, check
            assert check.explanation == f"cannot be asked: {model} needs {lacking}"
