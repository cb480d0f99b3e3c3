"""Real models on this host are found without any network, or missed with a hint."""

from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.model.errors import SmokeError, UsageError
from envbuilder.runtime import Command, Completed
from envbuilder.smoke import ProbedModel, SmokePlan
from envbuilder.smoke.local_model import LocalModel, check_links, hub_cache, locate
from envbuilder.smoke.run_probe import ask
from envbuilder.workflow.smoke import smoke_plan
from tests.snapshots import snapshot_at
from tests.unit.locks import lock


def test_a_directory_is_mounted_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate(ProbedModel(path=str(tmp_path))) == LocalModel(mounted=tmp_path.resolve())


def test_a_snapshot_is_mounted_with_its_blobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--Qwen--Small"
    snapshot = repository / "snapshots" / "abc12345"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "1").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/1")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc12345\n")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = LocalModel(mounted=repository, inside="snapshots/abc12345")
    assert locate(ProbedModel(hub="Qwen/Small")) == found
    for revision in ("abc12345", "abc1234"):
        assert locate(ProbedModel(hub="Qwen/Small", revision=revision)) == found
    assert not found.has_weights
    (snapshot / "model.safetensors").write_bytes(b"")
    assert found.has_weights
    with pytest.raises(SmokeError) as caught:
        locate(ProbedModel(hub="Qwen/Small", revision="v2"))
    assert caught.value.message == f"there is no model directory {snapshot.with_name('v2')}"
    assert "hf download Qwen/Small --revision v2" in caught.value.hint
    snapshot.with_name("abc12346").mkdir()
    for short in ("abc1234", "abc123"):  # of two commits, and too short to be meant
        with pytest.raises(SmokeError, match=f"there is no model directory .*/{short}$"):
            locate(ProbedModel(hub="Qwen/Small", revision=short))


@pytest.mark.parametrize("kind", ["path", "config"])
def test_a_snapshot_that_is_named_by_its_path_is_mounted_with_its_blobs(
    tmp_path: Path, kind: str
) -> None:
    snapshot = snapshot_at(tmp_path)
    found = LocalModel(mounted=snapshot.parents[1], inside="snapshots/abc12345")
    named = [snapshot, tmp_path / "latest"]
    named[1].symlink_to(snapshot)
    for folder in named:
        assert locate(ProbedModel(**{kind: str(folder)})) == found
    check_links(found)
    part = snapshot / "onnx"
    inside = LocalModel(mounted=found.mounted, inside="snapshots/abc12345/onnx")
    assert locate(ProbedModel(path=str(part))) == inside
    check_links(inside)


def test_a_link_to_what_is_not_mounted_is_named(tmp_path: Path) -> None:
    model, weights = tmp_path / "model", tmp_path / "weights"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "latest.json").symlink_to("config.json")
    (model / ".venv").mkdir()
    (model / ".venv" / "python").symlink_to("/usr/bin/python3")
    found = locate(ProbedModel(path=str(model)))
    check_links(found)
    weights.write_bytes(b"")
    for target in ("../weights", str(weights), str(model / "config.json"), "../gone"):
        (model / "model.safetensors").unlink(missing_ok=True)
        (model / "model.safetensors").symlink_to(target)
        with pytest.raises(SmokeError, match="a container does not see") as caught:
            check_links(found)
        assert caught.value.message.startswith(f"{model / 'model.safetensors'} is a link to /")


def test_a_blob_that_is_a_link_elsewhere_is_lost_too(tmp_path: Path) -> None:
    snapshot = snapshot_at(tmp_path)
    blob = snapshot.parents[1] / "blobs" / "1"
    blob.rename(tmp_path / "disk")
    blob.symlink_to("../../disk")
    with pytest.raises(SmokeError, match=f"is a link to {tmp_path / 'disk'}, which"):
        check_links(locate(ProbedModel(path=str(snapshot))))


def test_a_probe_in_a_container_is_not_begun_with_links_that_it_would_not_see(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").symlink_to("/etc/hostname")
    asked = SmokePlan(models=(ProbedModel(path=str(tmp_path)),))
    commands: list[Command] = []

    def run(command: Command) -> Completed:
        commands.append(command)
        return Completed(exit_code=1, stdout=b"", stderr=b"", seconds=0.0, peak_memory=None)

    with pytest.raises(SmokeError, match="a container does not see"):
        ask(run, asked)
    assert not commands
    with pytest.raises(SmokeError, match="no result"):  # on this machine itself, they lead there
        ask(run, replace(asked, shared=True))
    assert len(commands) == 1


def test_a_spec_names_a_model_from_its_own_folder(tmp_path: Path) -> None:
    named = {"smoke": {"model": {"path": "models/tiny"}}}
    asked = smoke_plan(lock({}, **named), folder=tmp_path).models
    path = str(tmp_path / "models" / "tiny")
    assert asked == (ProbedModel(path=path, label="models/tiny"),)


@pytest.mark.parametrize(
    ("variable", "value", "cache"),
    [
        ("HF_HUB_CACHE", "~/hub", "hub"),
        ("HF_HOME", "~/hf", "hf/hub"),
        ("XDG_CACHE_HOME", "~/cache", "cache/huggingface/hub"),
        (None, "", ".cache/huggingface/hub"),
    ],
)
def test_the_hubs_cache_may_be_named_from_home(
    variable: str | None, value: str, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable:
        monkeypatch.setenv(variable, value)
    assert hub_cache() == tmp_path / cache


def test_a_model_is_named_in_one_way() -> None:
    with pytest.raises(UsageError, match="one of family, path, config and hub"):
        ProbedModel(family="llava", path="/x")
