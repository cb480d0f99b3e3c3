"""A user's own samples in a spec: what is refused, and where; what the plan makes of them."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from envbuilder.cli.lock import command
from envbuilder.model import samples
from envbuilder.model.errors import SmokeError, SpecError
from envbuilder.model.spec import to_builtins
from envbuilder.model.spec_file import load
from envbuilder.smoke import LocalPython, OwnSample, ProbedModel, SmokePlan, smoke
from envbuilder.workflow.smoke import smoke_plan

from .locks import lock

SPEC = """version: 1
name: demo
python: "3.12"
base: {debian: trixie}
packages: {pillow: "*"}
smoke:
  model: {family: qwen2_vl}
  samples:
"""


def _spec(folder: Path, *samples: str) -> Path:
    path = folder / "demo.yaml"
    path.write_text(SPEC + "".join(f"    - {line}\n" for line in samples))
    return path


def test_samples_are_files_beside_the_spec(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("photo.JPG", "more/voice.wav", "film.bin"):
        (tmp_path / name).write_bytes(b"x")
    spec = load(_spec(tmp_path, "photo.JPG", "more/voice.wav", "{path: film.bin, modality: video}"))
    assert list(samples.own_samples(spec)) == [
        ("photo.JPG", "image"),
        ("more/voice.wav", "audio"),
        ("film.bin", "video"),
    ]
    assert "/" not in str(to_builtins(spec)["smoke"]["samples"][0])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("thing.bin", "does not say what it is"),
        ("../outside.png", "leaves the spec's folder"),
        ("/etc/passwd", "leaves the spec's folder"),
        ("{path: thing.bin, modality: smell}", "expected one of audio, image, video"),
        ("{path: thing.bin, modal: audio}", "unknown key 'modal'"),
        ("3", "samples"),
    ],
)
def test_what_cannot_be_a_sample_is_refused_in_its_place(
    tmp_path: Path, line: str, words: str
) -> None:
    (tmp_path / "thing.bin").write_bytes(b"x")
    with pytest.raises(SpecError) as caught:
        load(_spec(tmp_path, line))
    assert words in str(caught.value)
    assert f"{tmp_path / 'demo.yaml'}:9:" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.png", "cannot be read: No such file"),
        ("folder.png", "cannot be read: Is a directory"),
        ("empty.png", "the file is empty"),
        ("large.png", "256 MiB at most"),
    ],
)
def test_a_sample_that_cannot_be_counted_is_named_when_it_is_to_be(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "good.png").write_bytes(b"x")
    with (tmp_path / "large.png").open("wb") as sparse:
        sparse.truncate(samples.LARGEST + 1)
    path = _spec(tmp_path, "good.png", name)
    spec = load(path)  # it can be read, whatever became of its files
    made = replace(lock({"pillow": "11.0.0"}), spec=spec)
    for look in (samples.check_samples, lambda _, folder: smoke_plan(made, folder=folder)):
        with pytest.raises(SpecError) as caught:
            look(spec, tmp_path)
        assert caught.value.message.startswith(f"the sample {tmp_path / name}: ")
        assert words in caught.value.message
        assert "smoke.samples" in caught.value.hint
    done = CliRunner().invoke(command, ["-f", str(path), "--dry-run"])
    assert isinstance(done.exception, SpecError)
    assert words in str(done.exception)


def test_too_many_samples_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(SpecError, match="more than 32 samples"):
        load(_spec(tmp_path, *["a.png"] * 33))


def test_each_sample_has_a_place_in_the_container_that_starts_no_other() -> None:
    samples = tuple(
        OwnSample(path=Path(f"/x/{number}.PNG"), modality="image", label=f"{number}.PNG")
        for number in range(12)
    )
    plan = SmokePlan(models=(ProbedModel(family="qwen2_vl"),), samples=samples)
    targets = [entry["path"] for entry in plan.request()["samples"]]
    assert targets[1] == "/run/envbuilder/samples/0001.png"
    assert not any(a != b and b.startswith(a) for a in targets for b in targets)


def test_a_sample_that_is_gone_is_named_before_anything_runs(tmp_path: Path) -> None:
    gone = OwnSample(path=tmp_path / "gone.png", modality="image", label="gone.png")
    with pytest.raises(SmokeError, match=r"no sample .*gone\.png"):
        smoke(LocalPython(python="python3").run, SmokePlan(samples=(gone,)))
