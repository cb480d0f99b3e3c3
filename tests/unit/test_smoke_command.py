"""``smoke``: options that would change nothing are refused; without a lock they are the plan."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import envbuilder
from envbuilder.cli.app import cli
from envbuilder.cli.report import print_report
from envbuilder.model.errors import UsageError
from envbuilder.runtime import Command, Completed
from envbuilder.smoke import Check, CheckStatus, LocalPython, ModelVerdict, Report, TokenRow
from envbuilder.smoke.causes import explain
from envbuilder.smoke.probe.job import expand
from tests.unit.smoke_documents import BUILT, Document


def _smoke(*words: str) -> Any:
    return CliRunner().invoke(cli, ["smoke", *words, "--progress", "quiet"])


@pytest.fixture(autouse=True)
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a project with the environment ``small``, which nobody comes to read."""
    (tmp_path / "lockfiles").mkdir()
    (tmp_path / "lockfiles" / "small.yaml").write_text("")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "refused", "why"),
    [
        (["small", "--family", "llava"], "--family", "lockfiles/small.yaml says how"),
        (["small", "--lock", "small", "--python", "p"], "--lock, --python", "lockfiles/small.yaml"),
        (["small", "--tokens", "image=1", "--gpu", "never"], "--tokens, --gpu", "small.yaml"),
        (["small", "--platform", "linux/amd64"], "--platform", "small.yaml"),
        (["oci:x", "--lock", "small", "--python", "p"], "--python", "the lock of small says how"),
        (["oci:x", "--lock", "small", "--timeout", "9"], "--timeout", "the lock of small says how"),
        (["--local", "python3", "--runtime", "oci"], "--runtime", "no container runs"),
        (["--local", "python3", "--platform", "a/b"], "--platform", "no container runs"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    words: list[str], refused: str, why: str
) -> None:
    error = _smoke(*words).exception
    assert isinstance(error, UsageError)
    assert error.message.startswith(f"{refused} would change nothing: ")
    assert why in error.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokens", "image=0"], "--tokens 'image=0': expected MODALITY=N"),
        (["--tokens", "sound=750"], "--tokens 'sound=750': expected MODALITY=N"),
        (["--tokens", "image=1", "--tokens", "image=2"], "--tokens names image twice"),
        (["--model", "folder"], "expected --family or --model, not both"),
        (["--model", "folder", "--server", "http://localhost:1"], "expected --family or --model"),
    ],
)
def test_what_says_two_things_or_none_is_refused(words: list[str], message: str) -> None:
    error = _smoke("--local", "python3", "--family", "llava", *words).exception
    assert isinstance(error, UsageError)
    assert error.message.startswith(message)


def test_in_a_pipe_a_row_is_a_line_and_the_rest_of_the_findings_is_pointed_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    document = Document()
    for label in ("1 s", "2.74 s"):
        document.item("tokens.audio", label)["placeholders"] += 1
    print_report(document.report())
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line.split() for line in lines if "8 frames 640x360" in line]
    assert row == ["video", "8", "frames", "640x360", *["1196"] * 4]
    told = next(at for at, line in enumerate(lines) if "(and 1 more finding)" in line)
    assert lines[told + 1].strip() == "all of them: --report FILE.html"


def test_each_model_has_a_table_and_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    report = Document().report()
    rows = tuple(replace(row, model=name) for name in ("a", "b") for row in report.tokens)
    (check,) = [one for one in report.checks if one.name == "tokens.image"]
    models = (
        ModelVerdict(name="a", verdict=CheckStatus.PASS, summary="known good"),
        ModelVerdict(name="b", verdict=CheckStatus.FAIL, summary="1 of 3 checks failed"),
    )
    checks = (replace(check, model="b"),)
    print_report(replace(report, tokens=rows, checks=checks, models=models))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in {"a", "b"}] == ["a", "b"]
    assert sum(line.startswith("sample ") for line in lines) == 2
    assert any(line.startswith("pass     b: tokens.image  placeholders") for line in lines)
    assert lines[-3:-1] == ["pass     a  known good", "fail     b  1 of 3 checks failed"]


def test_what_the_container_wrote_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    row = TokenRow(
        modality="audio", sample="\x1b[2J[/]", role="x", formula=1, placeholders=1, embeddings=1
    )
    check = Check(name="tokens", status=CheckStatus.FAIL, explanation="\x1b]0;x\x07two\nlines")
    print_report(
        Report(
            subject="s", verdict=CheckStatus.FAIL, summary="\x1b[1m", checks=(check,), tokens=(row,)
        )
    )
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert r"\x1b[2J[/]" in shown
    assert "two\nlines" in shown


def test_a_report_says_who_made_it_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.dumps({"version": 1, "jobs": []}).encode()

    def run(_self: LocalPython, _command: Command) -> Completed:
        return Completed(exit_code=0, stdout=said, stderr=b"", seconds=0.0, peak_memory=None)

    monkeypatch.setattr(LocalPython, "run", run)
    done = _smoke("--local", "p", "--report", "r.json")
    assert done.exit_code == 8  # the probe says nothing of what it was asked
    told = json.loads(Path("r.json").read_text())["about"]
    assert told["envbuilder"] == envbuilder.__version__
    assert abs(datetime.fromisoformat(told["date"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert told["kernel"].startswith("Linux ")
    assert told["image"] is None


@pytest.mark.parametrize(("flags", "code"), [((), 8), (("--allow-unproven",), 0)])
def test_what_is_unproven_ends_with_8_unless_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], code: int
) -> None:
    document = Document()
    for name in ("audio", "image", "video", "mixed"):
        document.stop(f"tokens.{name}", "inapplicable", "no chat template")

    document.value["jobs"].append({**document.job("gpu"), "name": "engine.run", "items": []})
    document.stop("engine.run", "absent", "vLLM is not installed")
    document.value["jobs"].append(BUILT)

    def run(_self: LocalPython, command: Command) -> Completed:
        wanted = expand(json.loads(command.stdin))
        document.value["jobs"] = [one for one in document.value["jobs"] if one["name"] in wanted]
        said = json.dumps(document.value).encode()
        return Completed(exit_code=0, stdout=said, stderr=b"", seconds=0.0, peak_memory=None)

    monkeypatch.setattr(LocalPython, "run", run)
    done = _smoke("--local", "p", "--family", "llava", *flags)
    assert "unproven: 3 of " in done.output
    assert done.exit_code == code


def test_without_a_lock_the_options_are_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Command] = []

    def run(_self: LocalPython, command: Command) -> Completed:
        asked.append(command)
        return Completed(exit_code=1, stdout=b"", stderr=b"", seconds=0.0, peak_memory=None)

    monkeypatch.setattr(LocalPython, "run", run)
    counts = ["--family", "llava", "--tokens", "image=576"]
    done = _smoke("--local", "p", *counts, "--gpu", "never", "--timeout", "5", "--memory", "100")
    assert "--local takes a Python" in done.exception.hint
    (command,) = asked
    request = json.loads(command.stdin)
    assert [model["family"] for model in request["models"]] == ["llava"]
    assert "gpu" not in request["checks"]
    assert (request["timeout"], command.memory, command.gpus) == (5.0, 100 << 20, False)


def test_a_cause_that_several_checks_share_is_explained_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = explain("torchvision-beside-cpu-torch").cause
    checks = tuple(
        Check(name=name, status=CheckStatus.ERROR, explanation="no", cause=page)
        for name in ("tokens.image", "tokens.video")
    )
    print_report(Report(subject="s", verdict=CheckStatus.ERROR, summary="x", checks=checks))
    out = capsys.readouterr().out
    assert out.count(" ".join(page.cure.split())) == 1
    assert f"cause: {page.title} (see above)\n" in out


def test_a_family_that_is_not_known_is_told_before_anything_runs() -> None:
    error = _smoke("--local", "python3", "--family", "Gemma-3").exception
    assert isinstance(error, UsageError)
    assert "no family is called 'Gemma-3'" in error.message
    assert error.hint == "did you mean gemma3?"
