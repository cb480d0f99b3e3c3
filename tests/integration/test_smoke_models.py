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

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Container = tuple[Prepared, SmokePlan]


@pytest.fixture(scope="module")
def models(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ready, plan = container
    folder = tmp_path_factory.mktemp("models")
    tiny_models.save(ready, plan.python, folder)
    return folder


def _counted(container: Container, model: Path, modality: str) -> Report:
    ready, plan = container
    asked = replace(plan, models=(ProbedModel(path=str(model)),), checks=("tokens",))
    return smoke(ready.run, replace(asked, jobs=(f"tokens.{modality}",)))


@pytest.mark.parametrize(
    ("name", "modality", "counts"),
    [
        ("gemma3", "image", {"280x280": 256, "1323x49": 256}),
        ("paligemma", "image", {"280x280": 256, "1323x49": 256}),
        ("pixtral", "image", {"280x280": 324, "640x480": 1200, "1323x49": 192}),
        ("whisper", "audio", {"1 s": 1500, "30.01 s": 1500}),
    ],
)
def test_a_model_is_counted_as_what_it_is(
    container: Container, models: Path, name: str, modality: str, counts: dict[str, int]
) -> None:
    report = _counted(container, models / name, modality)
    assert report.verdict is CheckStatus.PASS, report.summary
    rows = {row.sample: row for row in report.tokens}
    assert {label: rows[label].embeddings for label in counts} == counts
    assert all(row.formula == row.placeholders for row in rows.values())
    assert all(row.embeddings in (row.placeholders, None) for row in rows.values())


def test_a_processor_that_merges_other_patches_than_its_model_is_red(
    container: Container, models: Path, tmp_path: Path
) -> None:
    spoilt = shutil.copytree(models / "pixtral", tmp_path / "pixtral")
    path = spoilt / "processor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "patch_size": 32}))
    report = _counted(container, spoilt, "image")
    assert report.verdict is CheckStatus.FAIL
    rows = {row.sample: row for row in report.tokens}
    assert rows["280x280"].formula == rows["280x280"].embeddings == 324
    assert rows["280x280"].placeholders != 324
