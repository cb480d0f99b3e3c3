"""Model directories made wrong, one fault each: all are counted in one smoke of the demo's image.

Their files are those of :mod:`tests.tiny_models`, which are green as they are.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from envbuilder.runtime import Prepared
from envbuilder.smoke import Check, CheckStatus, ProbedModel, Report, SmokePlan, run_probe, smoke
from tests import tiny_models
from tests.unit.smoke_documents import conform

pytestmark = [pytest.mark.integration]

FEW = """
BUDGET = {"audio": 2, "image": 2, "video": 1}
COMMON = {
    "audio": [("small", (16000,)), ("edge", (43840,))],
    "image": [("small", (280, 280)), ("edge", (49, 1323))],
    "video": [("small", (2, 112, 112))],
}
"""


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """A model with one ``file`` that ``change`` makes wrong (None: it is gone).

    ``check`` turns red, says ``words`` and names the ``cause``, if the book has one.
    """

    name: str
    model: str
    file: str
    change: Callable[[Any], Any] | None
    check: str = "tokens.image"
    words: str = ""
    cause: str | None = None


def merge(**values: Any) -> Callable[[Any], Any]:
    return lambda found: {**found, **values}


def within(part: str, **values: Any) -> Callable[[Any], Any]:
    return lambda found: {**found, part: {**found[part], **values}}


CONFIG, FILES, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
SPOILT = [
    Spoilt(name="patches of the processor are twice the model's", model="pixtral", file=PROCESSOR,
           change=merge(patch_size=32),
           words="put 81 placeholders into the prompt, the encoder makes 324"),
    Spoilt(name="the model's patches are others", model="pixtral", file=CONFIG,
           change=within("vision_config", patch_size=32), words="size mismatch for weight"),
    Spoilt(name="the model inserts at another token", model="pixtral", file=CONFIG,
           change=merge(image_token_index=260), words="put 17 placeholders into the prompt"),
    Spoilt(name="the model has no class for its architecture", model="pixtral", file=CONFIG,
           change=merge(architectures=["PixtralNextForConditionalGeneration"]),
           check="architecture", words="has no PixtralNext", cause="architecture-unknown"),
    Spoilt(name="the processor's settings of images are gone", model="pixtral", file=FILES,
           change=None, words="preprocessor_config.json"),
    Spoilt(name="half of the placeholders", model="gemma3", file=PROCESSOR,
           change=merge(image_seq_length=128), words="put 128 placeholders into the prompt",
           cause="image-seq-length"),
    Spoilt(name="the projector pools more", model="gemma3", file=CONFIG,
           change=merge(mm_tokens_per_image=64), words="put 256 placeholders into the prompt",
           cause="image-seq-length"),
    Spoilt(name="embeddings go to the start of an image", model="gemma3", file=CONFIG,
           change=merge(image_token_index=259), words="put 1 placeholders into the prompt",
           cause="mark-is-counted"),
    Spoilt(name="images of another size than the encoder's", model="gemma3", file=FILES,
           change=merge(size={"height": 448, "width": 448}),
           words="must match the size of tensor b (4096)"),
    Spoilt(name="a model type that nobody knows", model="gemma3", file=CONFIG,
           change=merge(model_type="gemma9"), check="architecture",
           words="does not recognize this architecture", cause="architecture-unknown"),
    Spoilt(name="a model that brings its own code", model="gemma3", file=CONFIG,
           change=merge(model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
           check="architecture", words="trust_remote_code", cause="model-brings-code"),
    Spoilt(name="a processor that is not the model's", model="gemma3", file=PROCESSOR,
           change=merge(processor_class="NobodysProcessor"),
           words="names no image, video or audio token"),
    Spoilt(name="the tokenizer is gone", model="gemma3", file="tokenizer.json", change=None,
           words="requires the protobuf library"),
    Spoilt(name="no configuration at all", model="paligemma", file=CONFIG,
           change=lambda _: [], check="architecture", words="config.json holds no JSON object"),
    Spoilt(name="placeholders of a larger sister", model="paligemma", file=FILES,
           change=merge(image_seq_length=1024), words="put 1024 placeholders into the prompt",
           cause="image-seq-length"),
    Spoilt(name="images of the larger sister", model="paligemma", file=FILES,
           change=merge(size={"height": 448, "width": 448}),
           words="must match the size of tensor b (256)"),
    Spoilt(name="the encoder of the larger sister", model="paligemma", file=CONFIG,
           change=within("vision_config", image_size=448), words="size mismatch for weight"),
    Spoilt(name="patches of another encoder", model="paligemma", file=CONFIG,
           change=within("vision_config", patch_size=28), words="size mismatch for weight"),
    Spoilt(name="embeddings at the end of the text", model="paligemma", file=CONFIG,
           change=merge(image_token_index=257), words="embeddings at 257: they would never meet",
           cause="token-ids-differ"),
    Spoilt(name="the weights are gone", model="paligemma", file="model.safetensors", change=None,
           words="no file named"),
    Spoilt(name="windows of half the length", model="whisper", file=FILES,
           change=merge(chunk_length=15), check="tokens.audio",
           words="of length 3000, but found 1500"),
    Spoilt(name="mel bands of a larger sister", model="whisper", file=FILES,
           change=merge(feature_size=128), check="tokens.audio",
           words="to have 80 channels, but got 128"),
    Spoilt(name="frames twice as dense", model="whisper", file=FILES,
           change=merge(hop_length=80), check="tokens.audio",
           words="put 1500 placeholders into the prompt, the formula gives 3000"),
    Spoilt(name="an encoder for half of the positions", model="whisper", file=CONFIG,
           change=merge(max_source_positions=750), check="tokens.audio",
           words="size mismatch for weight"),
]  # fmt: skip


@pytest.fixture(scope="module")
def report(
    container: tuple[Prepared, SmokePlan], tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Report]:
    """Count all of them, and the sound models, in one smoke with few samples."""
    ready, plan = container
    folder = tmp_path_factory.mktemp("models")
    models = [ProbedModel(path=str(tiny / name), label=name) for name in tiny_models.NAMES]
    for spoilt in SPOILT:
        target = shutil.copytree(tiny / spoilt.model, folder / spoilt.name.replace(" ", "-"))
        _spoil(target / spoilt.file, spoilt.change)
        models.append(ProbedModel(path=str(target), label=spoilt.name))
    probe = shutil.copytree(run_probe.PROBE, folder / "probe")
    with (probe / "edges.py").open("a") as file:
        file.write(FEW)
    checks = ["tokens.image"] * 3 + ["tokens.audio"] + [spoilt.check for spoilt in SPOILT]
    jobs = tuple(f"{check}@{number}" for number, check in enumerate(checks))
    asked = replace(plan, models=tuple(models), checks=("architecture", "tokens"), jobs=jobs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_probe, "PROBE", probe)
        yield smoke(ready.run, replace(asked, timeout=1200.0))


def _spoil(path: Path, change: Callable[[Any], Any] | None) -> None:
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


def _check(report: Report, model: str, name: str) -> Check:
    (check,) = [one for one in report.checks if (one.model, one.name) == (model, name)]
    return check


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda spoilt: spoilt.name.replace(" ", "-"))
def test_a_model_that_is_spoilt_is_red_and_says_why(report: Report, spoilt: Spoilt) -> None:
    check = _check(report, spoilt.name, spoilt.check)
    assert check.status in {CheckStatus.FAIL, CheckStatus.ERROR}, check
    assert spoilt.words in check.explanation
    assert (check.cause.id if check.cause else None) == spoilt.cause, check


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_the_same_models_are_green_as_they_are(report: Report, name: str) -> None:
    (found,) = [model for model in report.models if model.name == name]
    assert found.verdict is CheckStatus.PASS, found.summary


def test_many_models_make_one_report(report: Report) -> None:
    conform(report)
    assert len(report.models) == len(SPOILT) + len(tiny_models.NAMES)
    assert report.peak_memory < 4 << 30
