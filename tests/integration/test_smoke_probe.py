"""The probe itself, run as it runs in a container: with a bare Python, crashing on purpose."""

import ast
import base64
import hashlib
import json
import py_compile
import re
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import packaging
import pytest
from click.testing import CliRunner

from envbuilder.cli.app import cli
from envbuilder.model.errors import MissingToolError, SmokeError
from envbuilder.runtime import Command, Completed
from envbuilder.smoke import CheckStatus, Expected, LocalPython, ProbedModel, SmokePlan, smoke
from envbuilder.smoke import run_probe as smoke_run
from envbuilder.smoke.judge import judge, serving
from envbuilder.smoke.probe import caches
from envbuilder.smoke.run_probe import PROBE
from tests.unit.smoke_documents import PLAN as RECORDED_PLAN
from tests.unit.smoke_documents import Document, conform
from tests.unit.test_smoke_engine_run import PLAN as ENGINE_PLAN

pytestmark = pytest.mark.integration

PLAN = SmokePlan(checks=("caches",), timeout=60)


def _ask(probe: Path, plan: SmokePlan, python: str = sys.executable) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-I", "-B", str(probe)],
        input=json.dumps(plan.request()).encode(),
        capture_output=True,
        check=True,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def sabotaged(tmp_path: Path) -> Any:
    """Return a function that copies the probe with ``body`` as what one of its jobs does."""

    def sabotage(body: str, job: str = "caches") -> Path:
        copied = tmp_path / "probe"
        for source in PROBE.rglob("*.py"):
            target = copied / source.relative_to(PROBE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text())
        lines = "\n    ".join(body.splitlines())
        text = f"import os, sys, time\ndef run(request, emit):\n    {lines}\n"
        (copied / f"{job}.py").write_text(text)
        return copied

    return sabotage


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.kill(os.getpid(), 11)", "the process ended with SIGSEGV"),
        ("os.abort()", "the process ended with SIGABRT"),
        ("os.kill(os.getpid(), 9)", "out of memory"),
        ("os._exit(3)", "the process ended with exit code 3 and no result"),
        ("sys.exit('gone')", "SystemExit: gone"),
        ("raise MemoryError('a lot')", "out of memory: MemoryError: a lot"),
        ("raise ValueError('why')", "ValueError: why"),
        ("emit(doing='sleeping')\ntime.sleep(60)", "while sleeping: the time limit"),
    ],
)
def test_whatever_a_job_does_is_a_verdict(sabotaged: Any, body: str, words: str) -> None:
    plan = SmokePlan(checks=("caches",), timeout=3 if "sleep" in body else 60)
    report = judge(plan, _ask(sabotaged(body), plan), subject="it")
    (check,) = report.checks
    assert check.status is CheckStatus.ERROR
    assert words in check.explanation
    assert report.verdict is CheckStatus.ERROR


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.kill(os.getpid(), 11)", "the process ended with SIGSEGV while starting the engine"),
        ("os.kill(os.getpid(), 9)", "out of memory while starting the engine"),
        ("raise RuntimeError('CUDA out of memory')", "out of memory while starting the engine"),
        ("raise RuntimeError('Engine core')", "RuntimeError: Engine core while starting"),
        ("os._exit(1)", "ended with exit code 1 and no result while starting the engine"),
        ("time.sleep(60)", "while starting the engine: the time limit"),
    ],
)
def test_an_engine_that_does_not_start_says_why(sabotaged: Any, body: str, words: str) -> None:
    start = f"emit(facts={{'version': '9'}}, doing='starting the engine')\n{body}"
    plan = replace(ENGINE_PLAN, timeout=3) if "sleep" in body else ENGINE_PLAN
    (check,) = serving.judge(plan, _ask(sabotaged(start, "serving"), plan))
    assert check.status is CheckStatus.ERROR
    assert words in check.explanation


def test_what_was_found_before_a_crash_is_kept(sabotaged: Any) -> None:
    body = "emit(item={'tool': 'pip', 'path': '/x', 'bytes': 9})\nos.kill(os.getpid(), 11)"
    report = judge(PLAN, _ask(sabotaged(body), PLAN), subject="it")
    (check,) = report.checks
    assert check.status is CheckStatus.FAIL
    assert "pip left 9 bytes in /x" in check.explanation
    assert any("SIGSEGV" in text for text in check.details["findings"])


def test_noise_on_standard_output_does_not_spoil_the_result(sabotaged: Any) -> None:
    noise = "print('{}' * 1000, flush=True)\nos.write(1, b'more')"
    document = _ask(sabotaged(noise), PLAN)
    assert document["jobs"][0]["outcome"] == "done"


def test_jobs_after_the_time_limit_are_named(sabotaged: Any) -> None:
    plan = SmokePlan(
        checks=("environment", "caches"),
        expected=tuple(Expected(name=f"p{n}", version="1", requested=True) for n in range(3)),
        timeout=0.0,
    )
    document = _ask(sabotaged("pass"), plan)
    assert {job["outcome"] for job in document["jobs"]} == {"timeout"}


def test_without_torch_the_counts_are_red_with_the_reason() -> None:
    plan = SmokePlan(checks=("tokens",), models=(ProbedModel(family="qwen2_5_omni"),), timeout=60)
    report = smoke(LocalPython(python=sys.executable).run, plan, subject="bare")
    assert report.verdict is CheckStatus.FAIL
    assert {check.explanation for check in report.checks} == {"torch is not installed"}


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ({"torch.py": "", "transformers/": ""}, "transformers is not installed: a folder"),
        ({"torch.py": ""}, "transformers is not installed"),
        ({"torch.py": "raise ImportError('libcudart.so.12')"}, "ImportError: libcudart.so.12"),
        ({"torch.py": "import os; os.kill(os.getpid(), 11)"}, "SIGSEGV while loading the model"),
        ({"torch.py": "raise MemoryError"}, "out of memory while loading the model"),
        ({"torch.py": "import time; time.sleep(60)"}, "the time limit"),
        (
            {"torch.py": "import os; raise ImportError(os.environ['CUDA_VISIBLE_DEVICES'] + '.')"},
            "ImportError: . ",
        ),
    ],
)
def test_a_broken_library_is_red_with_the_reason(
    prefix: Path, modules: dict[str, str], words: str
) -> None:
    site = next(prefix.glob("lib/python3*/site-packages"))
    for name, text in modules.items():
        (site / name).mkdir() if name.endswith("/") else (site / name).write_text(text)
    limit = 2 if "sleep" in modules["torch.py"] else 60
    plan = SmokePlan(
        checks=("tokens",), models=(ProbedModel(family="qwen2_5_omni"),), timeout=limit
    )
    report = smoke(LocalPython(python=str(prefix / "bin" / "python")).run, plan)
    assert report.verdict in {CheckStatus.FAIL, CheckStatus.ERROR}
    assert words in report.checks[0].explanation
    assert not any("Traceback" in check.explanation for check in report.checks)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo Hello", "the probe left no result: exit code 0"),
        ("echo no such library >&2; exit 127", "exit code 127: no such library"),
        ("kill -SEGV $$", "exit code 139"),
        ("sleep 60", "killed after"),
        (
            "echo '[1]'",
            "exit code 0, but what it printed does not fit: it is no JSON object but array",
        ),
    ],
)
def test_an_interpreter_that_is_none_is_a_smoke_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    hangs = "sleep" in script
    monkeypatch.setattr(smoke_run, "GRACE", 0.3 if hangs else 60)
    plan = SmokePlan(checks=("caches",), timeout=0.3 if hangs else 60)
    with pytest.raises(SmokeError, match=re.escape(words)):
        smoke(LocalPython(python=str(fake)).run, plan)


ALONE = """
import os, time
os.close(os.open({lock!r}, os.O_CREAT | os.O_EXCL))
time.sleep(0.2)
os.remove({lock!r})
raise ImportError("alone")
"""


def test_the_jobs_of_a_real_model_run_one_after_the_other(prefix: Path, tmp_path: Path) -> None:
    """Each loads the weights; a path may hold what JSON escapes."""
    site = next(prefix.glob("lib/python3*/site-packages"))
    (site / "torch.py").write_text(ALONE.format(lock=str(tmp_path / "lock")))
    model = tmp_path / 'a "quoted" model'
    model.mkdir()
    (model / "config.json").write_text("{}")
    plan = SmokePlan(checks=("tokens",), models=(ProbedModel(path=str(model)),), timeout=60)
    report = smoke(LocalPython(python=str(prefix / "bin" / "python")).run, plan)
    told = {check.explanation for check in report.checks}
    assert all("import torch fails: ImportError: alone" in text for text in told), told


SEES = """
emit(facts={'looked_in': '/', 'stale_bytecode': []})
emit(facts={'seen': dict(os.environ), **request})
"""


def test_what_the_environment_says_of_caches_and_keys_does_not_reach_a_job(
    sabotaged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "TRANSFORMERS_CACHE", "HF_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, f"/secret/{name}")
    monkeypatch.setattr(smoke_run, "PROBE", sabotaged(SEES))
    (job,) = smoke_run.ask(LocalPython(python=sys.executable).run, PLAN)["jobs"]
    assert "secret" not in str(job["facts"]["seen"])
    assert job["facts"]["environ"]["HF_HUB_CACHE"] == "/secret/HF_HUB_CACHE"  # to be looked into


def test_an_unknown_family_is_red_with_the_known_ones() -> None:
    plan = SmokePlan(checks=("tokens",), models=(ProbedModel(family="nobody"),), timeout=60)
    document = _ask(PROBE, plan)
    failure = document["jobs"][0]["failure"]
    assert failure["kind"] == "absent"


@pytest.mark.parametrize(
    ("stdout", "words"),
    [
        (b"", "exit code 1: no module"),
        (b"Traceback", "exit code 1"),
        (b"[" * 200_000, "exit code 1"),
    ],
)
def test_no_result_at_all_is_a_smoke_error(stdout: bytes, words: str) -> None:
    def run(_command: Command) -> Completed:
        return Completed(
            exit_code=1, stdout=stdout, stderr=b"x\nno module\n", seconds=1.0, peak_memory=None
        )

    with pytest.raises(SmokeError, match=words):
        smoke(run, PLAN)


def test_numbers_that_json_does_not_know_are_none_in_the_report() -> None:
    document = Document()
    document.item("tokens.mixed", "all together").update(
        finite=False, logits=[float("nan")], spread=float("nan"), margins=[float("inf")]
    )

    def run(_command: Command) -> Completed:
        said = json.dumps(document.value).encode()
        return Completed(exit_code=0, stdout=said, stderr=b"", seconds=1.0, peak_memory=None)

    report = smoke(run, RECORDED_PLAN)
    conform(report)
    assert report.verdict is CheckStatus.FAIL
    assert "all together: the model's logits are not finite" in report.summary


def test_a_model_path_without_a_model_is_refused_before_anything_runs(tmp_path: Path) -> None:
    plan = SmokePlan(checks=("tokens",), models=(ProbedModel(path=str(tmp_path)),))
    with pytest.raises(SmokeError, match=r"holds no config\.json"):
        smoke(LocalPython(python=sys.executable).run, plan)


def test_a_missing_interpreter_is_named() -> None:
    with pytest.raises(MissingToolError, match="nowhere/python"):
        smoke(LocalPython(python="/nowhere/python").run, PLAN)


# --- the environment job on a small environment of its own ----------------------------------------


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Return a virtual environment with one distribution, ``good`` 1.0, installed by hand."""
    root = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    site = next(root.glob("lib/python3*/site-packages"))
    _install(site, "good", "1.0", {"good.py": "value = 1\n"}, requires=["missing>=2"])
    return root


def _install(
    site: Path, name: str, version: str, files: dict[str, str], requires: list[str]
) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    (info / "METADATA").write_text(metadata)
    (info / "INSTALLER").write_text("hand\n")
    rows = [f"{info.name}/RECORD,,", f"{info.name}/INSTALLER,,"]
    for path, text in {**files, f"{info.name}/METADATA": metadata}.items():
        (site / path).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        rows.append(f"{path},sha256={digest.decode()},{len(text)}")
    (info / "RECORD").write_text("\n".join(rows) + "\n")


def _environment(
    prefix: Path, *expected: Expected, installed: tuple[str, ...] = ()
) -> dict[str, Any]:
    plan = SmokePlan(
        checks=("environment",),
        expected=expected,
        installed=installed,
        prefix=str(prefix),
        timeout=60,
    )
    document = _ask(PROBE, plan, python=str(prefix / "bin" / "python"))
    return {check.name: check for check in judge(plan, document, subject="env").checks}


GOOD = Expected(name="Good", version="1.0", requested=True)


def test_a_whole_environment_is_green(prefix: Path) -> None:
    checks = _environment(prefix, GOOD)
    assert checks["environment.packages"].status is CheckStatus.PASS
    assert checks["environment.files"].status is CheckStatus.PASS
    assert checks["environment.import.Good"].status is CheckStatus.PASS


def test_a_changed_a_missing_and_an_extra_file_are_found(prefix: Path) -> None:
    site = next(prefix.glob("lib/python3*/site-packages"))
    (site / "good.py").write_text("value = 2\n")
    (site / "stranger.py").write_text("")
    check = _environment(prefix, GOOD)["environment.files"]
    assert check.status is CheckStatus.FAIL
    assert "good.py (of good 1.0): changed since it was installed" in check.explanation
    assert [Path(path).name for path in check.details["unlisted"]] == ["stranger.py"]
    (site / "good.py").unlink()
    assert "missing" in _environment(prefix, GOOD)["environment.files"].explanation


@pytest.mark.parametrize(
    ("installed", "there", "whole"),
    [
        (("one", "two"), "two", True),
        (("two", "one"), "one", True),
        (("one", "two"), "one", False),
        (("two", "one"), "two", False),
        ((), "one", True),
        ((), "two", True),
        ((), "neither", False),
        (("one",), "one", True),
        (("one",), "two", False),
    ],
)
def test_of_two_that_wrote_one_path_the_last_counts(
    prefix: Path, installed: tuple[str, ...], there: str, whole: bool
) -> None:
    site = next(prefix.glob("lib/python3*/site-packages"))
    for name in ("one", "two"):
        _install(site, name, "1.0", {"shared.py": f"by = {name!r}\n"}, requires=[])
    (site / "shared.py").write_text(f"by = {there!r}\n")
    check = _environment(prefix, GOOD, installed=installed)["environment.files"]
    assert (check.status is CheckStatus.PASS) == whole, check.explanation
    if not whole and installed:
        assert f"shared.py (of {installed[-1]} 1.0)" in check.explanation


def test_an_import_error_is_told_as_it_is(prefix: Path) -> None:
    site = next(prefix.glob("lib/python3*/site-packages"))
    (site / "good.py").write_text("import absent_library\n")
    check = _environment(prefix, GOOD)["environment.import.Good"]
    assert check.status is CheckStatus.FAIL
    assert "No module named 'absent_library'" in check.explanation


def test_missing_and_extra_packages_are_both_named(prefix: Path) -> None:
    check = _environment(prefix, Expected(name="other", version="3"))["environment.packages"]
    assert check.status is CheckStatus.FAIL
    told = check.details["findings"]
    assert any("other 3 is locked but not installed" in text for text in told)
    assert any("good 1.0 is installed (by hand)" in text for text in told)


def test_a_requirement_that_nobody_can_read_does_not_hide_the_others(prefix: Path) -> None:
    site = next(prefix.glob("lib/python3*/site-packages"))
    (site / "packaging").symlink_to(Path(packaging.__file__).parent)
    _install(site, "old", "0.1", {"old.py": ""}, requires=["numpy>=1.7.*", "absent>=2"])
    checks = _environment(prefix, GOOD)
    check = checks["environment.requirements"]
    assert check.status is CheckStatus.FAIL
    assert "old 0.1 needs absent>=2" in " ".join(check.details["findings"])
    (unread,) = check.details["unread"]
    assert unread.startswith("old 0.1: InvalidRequirement")
    assert checks["environment.files"].status is CheckStatus.PASS


# --- what the probe is made of --------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PROBE.rglob("*.py")), ids=lambda path: path.name)
def test_the_probe_needs_python_3_9_and_nothing_else(path: Path) -> None:
    """Importing a module of the probe takes the standard library alone, in the syntax of 3.9."""
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in tree.body:
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert str(node.module).split(".")[0] in sys.stdlib_module_names


# --- caches of an environment on a machine that is shared -----------------------------------------


def _caches(prefix: Path, home: Path) -> Any:
    plan = SmokePlan(checks=("caches",), prefix=str(prefix), shared=True, timeout=60)
    done = subprocess.run(
        [str(prefix / "bin" / "python"), "-I", "-B", str(PROBE)],
        input=json.dumps(plan.request()).encode(),
        capture_output=True,
        check=True,
        env={"HOME": str(home)},
    )
    (check,) = judge(plan, json.loads(done.stdout), subject="env").checks
    return check


def test_the_caches_of_a_shared_machine_are_its_own(prefix: Path, tmp_path: Path) -> None:
    left = tmp_path / "home" / ".cache" / "pip" / "wheel"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(9))
    local = _caches(prefix, tmp_path / "home")
    assert local.status is CheckStatus.PASS
    assert f"is left in {prefix}, and this machine's own caches do not count" in local.explanation


def test_a_cache_inside_the_shared_environment_is_found(prefix: Path, tmp_path: Path) -> None:
    left = prefix / ".cache" / "huggingface" / "blob"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(5))
    check = _caches(prefix, tmp_path)
    assert check.status is CheckStatus.FAIL
    assert f"huggingface left 5 bytes in {left.parent}" in check.explanation


def _stale(module: Path) -> str:
    """Compile ``module`` as Debian's are, and edit it afterwards; return its bytecode's path."""
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text("value = 1\n")
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compiled = py_compile.compile(str(module), doraise=True, invalidation_mode=mode)
    module.write_text("value = 2\n")
    return str(compiled)


@pytest.mark.parametrize("shared", [False, True])
def test_bytecode_that_hides_a_module_of_the_base_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    base, minor = tmp_path / "usr", f"python3.{sys.version_info.minor}"
    monkeypatch.setattr(sys, "base_prefix", str(base))
    own = [_stale(tmp_path / "venv" / "lib" / minor / "site-packages" / "one.py")]
    of_base = [
        _stale(base / "lib" / minor / "this.py"),
        _stale(base / "lib64" / minor / "lib-dynload" / "that.py"),
        _stale(base / "lib" / "python3" / "dist-packages" / "deep" / "two.py"),
        _stale(base / "local" / "lib" / minor / "dist-packages" / "three.py"),
    ]
    configuration = tmp_path / "etc" / "sitecustomize.py"
    customized = base / "lib" / minor / "sitecustomize.py"
    of_base.append(_stale(customized))
    configuration.parent.mkdir()
    customized.rename(configuration)
    customized.symlink_to(configuration)
    _stale(base / "share" / "other.py")  # no place that this Python imports from
    facts: dict[str, Any] = {}
    request = {"prefix": str(tmp_path / "venv"), "shared": shared, "environ": {}}
    caches.run(request, lambda **told: facts.update(told.get("facts", {})))
    assert facts["stale_bytecode"] == sorted(own if shared else own + of_base)


def test_the_standard_library_is_looked_at_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = _stale(tmp_path / "Lib" / "this.py")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "Lib"))
    facts: dict[str, Any] = {}
    request = {"prefix": str(tmp_path / "venv"), "environ": {}}
    caches.run(request, lambda **told: facts.update(told.get("facts", {})))
    assert facts["stale_bytecode"] == [compiled]


def test_local_judges_the_environment_and_not_the_machine(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "home" / ".cache" / "uv" / "wheel"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(9))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    words = ["smoke", "--local", str(prefix / "bin" / "python"), "-o", "json"]
    done = CliRunner().invoke(cli, [*words, "--progress", "quiet"])
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["caches"]["status"] == "pass"
    assert done.exit_code == 0


def test_the_probe_uses_nothing_that_came_after_python_3_9() -> None:
    """Not its syntax, which the compiler above knows, but members of the standard library."""
    program = Path(sys.executable).with_name("vermin")
    vermin = [program, "--quiet", "--no-tips", "--target=3.9-"]
    done = subprocess.run(
        [*vermin, "--violations", str(PROBE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
