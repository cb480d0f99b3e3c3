"""Real models on this host are found without any network, or missed with a hint."""

from pathlib import Path

import pytest

from envbuilder.model.errors import SmokeError, UsageError
from envbuilder.smoke import ProbedModel
from envbuilder.smoke.local_model import LocalModel, hub_cache, locate
from envbuilder.workflow.smoke import smoke_plan
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
