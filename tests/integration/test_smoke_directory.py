"""A model directory with weights: ``model: {path: …}`` in the demo's own container.

The directory is a tiny Qwen2-VL, written and saved by the container's own transformers.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.runtime import Command, Mount, Prepared
from envbuilder.smoke import CheckStatus, ProbedModel, Report, SmokePlan, smoke
from envbuilder.smoke import run_probe as smoke_run
from envbuilder.smoke.answers import Answers, parse_answers

pytestmark = [pytest.mark.integration]

SAVE = """
import copy, json, os, sys
import torch
sys.path.insert(0, "/run/envbuilder")
from probe import families
family = families.load("qwen2_vl")
os.mkdir("/models/plain")
family.write("/models/plain")
model = family.load_model("/models/plain", weights=False)
for name, (scale, dtype) in json.loads(sys.argv[1]).items():
    folder = "/models/" + name
    if name != "plain":
        os.mkdir(folder)
        family.write(folder)
    saved = copy.deepcopy(model)
    for weight in saved.parameters():
        weight.data.mul_(scale)
    saved.to(getattr(torch, dtype)).save_pretrained(folder)
"""
SAVED = {"plain": (1, "float32"), "halved": (1, "bfloat16"), "scaled": (1.5, "float32")}
"""The models by name: what their weights are times the plain one's, and their type."""
TEMPLATE = """{% for message in messages %}{% for part in message.content -%}
{% if part.type == "text" %}{{ part.text }}{% else -%}
<|vision_start|><|{{ part.type }}_pad|><|vision_end|>{% endif %}{% endfor %}{% endfor %}"""
Container = tuple[Prepared, SmokePlan]


@pytest.fixture(scope="module")
def models(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let the container write every model of ``SAVED`` to a folder of its name."""
    ready, plan = container
    folder = tmp_path_factory.mktemp("models")
    done = ready.run(
        Command(
            args=(plan.python, "-I", "-B", "-c", SAVE, json.dumps(SAVED)),
            mounts=(
                Mount(source=smoke_run.PROBE, target=smoke_run.PROBE_MOUNT),
                Mount(source=folder, target="/models", read_only=False),
            ),
            timeout=300,
        )
    )
    assert done.exit_code == 0, done.stderr.decode()
    return folder


@pytest.fixture(scope="module")
def model(models: Path) -> Path:
    return models / "plain"


def _smoked(
    container: Container, model: Path, *jobs: str, answers: Answers | None = None
) -> Report:
    """Smoke ``model``: all of it, or what ``jobs`` names."""
    ready, plan = container
    asked = replace(plan, models=(ProbedModel(path=str(model), answers=answers),), jobs=jobs)
    return smoke(ready.run, replace(asked, checks=("environment", "tokens")))


@pytest.fixture(scope="module")
def report(container: Container, model: Path) -> Report:
    return _smoked(container, model)


def _checks(report: Report) -> dict[str, CheckStatus]:
    return {check.name: check.status for check in report.checks}


def _answers(report: Report) -> dict[str, object]:
    return next(c for c in report.checks if c.name == "tokens.answers").details["answers"]


def test_a_directory_is_counted_by_its_family_and_runs_with_its_own_weights(report: Report) -> None:
    assert report.verdict is CheckStatus.PASS
    checks = _checks(report)
    assert checks["tokens.image"] is checks["tokens.video"] is CheckStatus.PASS
    assert checks["tokens.generate"] is CheckStatus.PASS
    assert all(row.formula == row.placeholders for row in report.tokens)
    assert str(_answers(report)["identity"]).startswith("sha256 ")


def test_a_directory_with_limits_of_its_own_is_counted_by_them(
    container: Container, model: Path, tmp_path: Path
) -> None:
    tuned = shutil.copytree(model, tmp_path / "tuned")
    path = tuned / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_pixels": 1003520}))
    report = _smoked(container, tuned, "tokens.image")
    assert report.verdict is CheckStatus.PASS, report.summary
    rows = {row.sample: row for row in report.tokens if row.modality == "image"}
    assert rows["3584x3584"].formula == rows["3584x3584"].placeholders == 1225


def test_weights_run_in_the_type_that_they_are_saved_in(container: Container, models: Path) -> None:
    report = _smoked(container, models / "halved", "tokens.mixed")
    assert report.verdict is CheckStatus.PASS, report.summary
    prompts = next(c for c in report.checks if c.name == "tokens.generate").details["prompts"]
    assert {prompt["dtype"] for prompt in prompts} == {"torch.bfloat16"}


def test_its_answers_are_compared_and_other_weights_are_told(
    container: Container, models: Path, report: Report
) -> None:
    recorded, answered = parse_answers(_answers(report)), ("environment", "tokens.mixed")
    again = _smoked(container, models / "plain", *answered, answers=recorded)
    assert _checks(again)["tokens.answers"] is CheckStatus.PASS
    moved = _smoked(container, models / "scaled", *answered, answers=recorded)
    check = next(check for check in moved.checks if check.name == "tokens.answers")
    assert check.status is CheckStatus.PASS
    assert "the weights" in check.explanation


def test_a_model_that_no_family_describes_is_counted_against_its_own_features(
    container: Container, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = tmp_path / "probe"
    shutil.copytree(smoke_run.PROBE, probe, ignore=shutil.ignore_patterns("__pycache__"))
    (probe / "families" / "qwen2_vl.py").unlink()
    monkeypatch.setattr(smoke_run, "PROBE", probe)
    talking = shutil.copytree(model, tmp_path / "talking")
    (talking / "chat_template.jinja").write_text(TEMPLATE)
    report = _smoked(container, talking)
    assert report.verdict is CheckStatus.PASS, report.summary
    silent = _smoked(container, model)  # no template: driven by the processor's own tokens
    assert silent.verdict is CheckStatus.PASS, silent.summary
    assert [row.placeholders for row in silent.tokens] == [
        row.placeholders for row in report.tokens
    ]
    assert {row.modality for row in report.tokens} == {"image", "video"}
    assert all(row.formula in {None, row.placeholders} for row in report.tokens)
    counted = [row for row in report.tokens if row.embeddings is not None]
    assert len(counted) >= 4
    assert all(row.placeholders == row.embeddings for row in counted)
