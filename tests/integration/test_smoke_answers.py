"""Golden answers and users' own files, in the demo's own container.

Each fault leaves every count as it is: only the answers tell.
"""

import shutil
import struct
import wave
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.runtime import Prepared
from envbuilder.smoke import CheckStatus, OwnSample, Report, SmokePlan, smoke
from envbuilder.smoke import run_probe as smoke_run
from envbuilder.smoke.answers import Answers, parse_answers
from envbuilder.smoke.judge import judge

pytestmark = [pytest.mark.integration]

BASE, OMNI, VISION = "families/base.py", "families/qwen2_5_omni.py", "families/_qwen_vision.py"


def _probe(target: Path, file: str, old: str, new: str) -> Path:
    """Copy the probe with one text of a file replaced."""
    shutil.copytree(smoke_run.PROBE, target, ignore=shutil.ignore_patterns("__pycache__"))
    text = (target / file).read_text()
    assert old in text, f"{file} no longer says {old!r}"
    (target / file).write_text(text.replace(old, new))
    return target


def _answered(container: tuple[Prepared, SmokePlan], probe: Path, known: Answers | None) -> Report:
    ready, plan = container
    asked = replace(
        plan,
        checks=("environment", "tokens"),
        jobs=("environment", "tokens.mixed"),
        models=(replace(plan.models[0], answers=known, tokens={}),),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smoke_run, "PROBE", probe)
        document = smoke_run.ask(ready.run, asked)
    for entry in document["jobs"]:  # the probe's own files are not what is judged here
        assert entry["outcome"] == "done", entry
    return judge(asked, document, subject="omni-cpu")


@pytest.fixture(scope="module")
def good(container: tuple[Prepared, SmokePlan]) -> Answers:
    report = _answered(container, smoke_run.PROBE, None)
    check = next(check for check in report.checks if check.name == "tokens.answers")
    return parse_answers(check.details["answers"])


def test_the_recorded_answers_are_those_of_this_machine(
    container: tuple[Prepared, SmokePlan], good: Answers
) -> None:
    _, plan = container
    recorded = plan.models[0].answers
    assert recorded is not None
    assert recorded.packages == good.packages
    assert recorded.prompts.keys() == good.prompts.keys()
    for label, answer in good.prompts.items():
        assert answer.logits == pytest.approx(recorded.prompts[label].logits, abs=1e-4)


FAULTS = [
    (
        "weights of another type",
        (BASE, "return kind(self.load_config(directory)).eval()", "torch.set_default_dtype("
         "torch.bfloat16)\n        return kind(self.load_config(directory)).eval()"),
        "the weights are torch.bfloat16",
    ),
    (
        "pictures normalised wrongly",
        (VISION, "[0.26862954, 0.26130258, 0.27577711]", "[0.5, 0.5, 0.5]"),
        "standard deviations",
    ),
    (
        "positions of pictures in another section",
        (OMNI, '"mrope_section": [4, 6, 6]', '"mrope_section": [6, 6, 4]'),
        "standard deviations",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "words"), [pytest.param(*fault[1:], id=fault[0]) for fault in FAULTS]
)
def test_what_counts_alone_miss_is_red(
    container: tuple[Prepared, SmokePlan],
    good: Answers,
    tmp_path: Path,
    edit: tuple[str, str, str],
    words: str,
) -> None:
    report = _answered(container, _probe(tmp_path / "probe", *edit), good)
    checks = {check.name: check for check in report.checks}
    assert checks["tokens.generate"].status is CheckStatus.PASS
    assert checks["tokens.answers"].status is CheckStatus.FAIL
    assert words in " ".join(checks["tokens.answers"].details["findings"])
    assert report.verdict is CheckStatus.FAIL


# --- users' own files -----------------------------------------------------------------------------


def _png(width: int, height: int) -> bytes:
    """Write a black picture by hand: the tests' own Python need not have Pillow."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = zlib.compress((b"\0" + b"\0" * 3 * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def test_own_files_are_counted_and_what_nothing_decodes_is_told(
    container: tuple[Prepared, SmokePlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, plan = container
    (tmp_path / "tall one.png").write_bytes(_png(40, 400))
    (tmp_path / "torn.png").write_bytes(_png(40, 400)[:60])
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 100)
    with wave.open(str(tmp_path / "voice.wav"), "wb") as sound:
        sound.setparams((2, 2, 44100, 0, "NONE", ""))
        sound.writeframes(b"\0" * 4 * 44100)
    kinds = {".png": "image", ".mp4": "video", ".wav": "audio"}
    own = tuple(
        OwnSample(path=path, modality=kinds[path.suffix], label=path.name)
        for path in sorted(tmp_path.iterdir())
    )
    none = 'SAMPLES = {"audio": [], "image": [], "video": []}\nFAMILY ='
    edit = (OMNI, "\nFAMILY =", "\nQwen25Omni.sounding = ()\n" + none)
    monkeypatch.setattr(smoke_run, "PROBE", _probe(tmp_path / "probe", *edit))
    jobs = ("tokens.audio", "tokens.image", "tokens.video")
    asked = replace(
        plan,
        checks=("tokens",),
        jobs=jobs,
        samples=own,
        models=(replace(plan.models[0], tokens={}),),
    )
    report = smoke(ready.run, asked)
    rows = {row.sample: row for row in report.tokens}
    assert rows["voice.wav (1 s)"].placeholders == rows["voice.wav (1 s)"].formula == 25
    assert rows["tall one.png (40x400)"].embeddings == 14
    checks = {check.name: check for check in report.checks}
    assert checks["tokens.audio"].status is CheckStatus.PASS
    assert checks["tokens.image"].status is CheckStatus.FAIL
    assert "torn.png cannot be processed" in checks["tokens.image"].explanation
    assert checks["tokens.video"].status is CheckStatus.ERROR
    assert "film.mp4 cannot be decoded" in checks["tokens.video"].explanation
    assert "not installed: av, cv2" in checks["tokens.video"].explanation
