"""The process that imports the libraries once: jobs forked from it are as separate as others."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from envbuilder.smoke import CheckStatus, LocalPython, ProbedModel, Report, SmokePlan, smoke
from envbuilder.smoke import run_probe as smoke_run
from envbuilder.smoke.probe.zygote import Zygote
from envbuilder.smoke.run_probe import PROBE, ask

pytestmark = pytest.mark.integration

LIBRARIES = {
    "numpy.py": "import pathlib; pathlib.Path(__file__).with_suffix('.log').open('a').write('x')",
    "torch.py": "",
    "transformers.py": "AutoConfig = AutoProcessor = GenerationMixin = PreTrainedModel = None",
}
JOB = """
import os, sys, time
def run(request, emit, modality):
    emit(doing="being " + modality, facts={"family": "x", "pid": os.getpid()})
    BODY
    emit(item={"modality": modality, "label": "1", "role": "small", "placeholders": 1,
               "embeddings": 1})
"""
ASKED = """
def run(request, emit, mode):
    import vllm.multimodal
    emit(facts={"version": "1", "modalities": []})
"""
THREAD = (
    "import threading, time; threading.Thread(target=time.sleep, args=[9], daemon=True).start()"
)
IN_USE = "from types import SimpleNamespace as S; cuda = S(is_initialized=lambda: True)"
Smoked = Callable[..., Report]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make an environment whose libraries say only that they were imported."""
    root = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    found = next(root.glob("lib/python3*/site-packages"))
    for name, text in LIBRARIES.items():
        (found / name).write_text(text)
    return found


@pytest.fixture
def smoked(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smoked:
    """Return a function that counts with jobs that do as ``body`` says."""

    def run(body: str, timeout: float = 60) -> Report:
        _probe(tmp_path, monkeypatch, "tokens.py", JOB.replace("BODY", body))
        jobs = ("tokens.audio", "tokens.image", "tokens.video")
        models = (ProbedModel(family="llava"),)
        plan = SmokePlan(checks=("tokens",), jobs=jobs, models=models, timeout=timeout)
        return smoke(LocalPython(python=str(site.parents[2] / "bin/python")).run, plan)

    return run


def _probe(folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str) -> None:
    """Let a copy of the probe be run, whose ``file`` holds ``text``."""
    for source in PROBE.rglob("*.py"):
        target = folder / "probe" / source.relative_to(PROBE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    (folder / "probe" / file).write_text(text)
    monkeypatch.setattr(smoke_run, "PROBE", folder / "probe")


def _imports(site: Path) -> int:
    """Count how often the libraries were imported."""
    return len((site / "numpy.log").read_text())


def _by_name(report: Report) -> dict[str, Any]:
    return {check.name: check for check in report.checks}


def test_libraries_are_imported_once_and_each_job_is_a_process(smoked: Smoked, site: Path) -> None:
    report = smoked("pass")
    assert report.verdict is CheckStatus.PASS, report.summary
    assert _imports(site) == 1
    assert len({check.details["facts"]["pid"] for check in report.checks}) == 3


def test_the_engine_is_imported_once(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vllm/__init__.py", "vllm/engine/arg_utils.py", "vllm/multimodal.py"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(LIBRARIES["numpy.py"] if "multimodal" in name else "")
    _probe(tmp_path, monkeypatch, "engine.py", ASKED)
    models = (ProbedModel(family="llava"), ProbedModel(family="gemma3"))
    jobs = ("engine.vllm", "engine.tight")
    plan = SmokePlan(checks=("engine",), jobs=jobs, models=models, gpu="never", timeout=60)
    document = ask(LocalPython(python=str(site.parents[2] / "bin/python")).run, plan)
    assert [job["outcome"] for job in document["jobs"]] == ["done"] * 4
    assert (site / "vllm/multimodal.log").read_text() == "x"


@pytest.mark.parametrize(
    ("torch", "imports"),
    [("", 1), (THREAD, 4), (IN_USE, 4)],
    ids=["as it is", "a thread", "a GPU in use"],
)
def test_what_would_not_be_whole_after_a_fork_is_not_forked(
    smoked: Smoked, site: Path, torch: str, imports: int
) -> None:
    (site / "torch.py").write_text(torch)
    report = smoked("__import__('numpy')")
    assert report.verdict is CheckStatus.PASS, report.summary
    assert _imports(site) == imports


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("os.kill(os.getpid(), 11)", "SIGSEGV while being image"),
        ("os.kill(os.getpid(), 9)", "out of memory while being image"),
        ("os._exit(3)", "exit code 3 and no result while being image"),
        ("sys.exit('gone')", "SystemExit: gone while being image"),
        ("raise ValueError('why')", "ValueError: why while being image"),
        ("os.kill(os.getppid(), 9); time.sleep(60)", "out of memory while being image"),
    ],
)
def test_what_one_job_does_is_its_own(smoked: Smoked, deed: str, words: str) -> None:
    report = smoked(f"if modality == 'image': {deed}")
    checks = _by_name(report)
    assert words in checks["tokens.image"].explanation
    assert checks["tokens.audio"].status is CheckStatus.PASS
    assert checks["tokens.video"].status is CheckStatus.PASS


def test_a_keeper_that_is_gone_before_it_told_of_its_job_was_killed() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    zygote = Zygote.__new__(Zygote)  # of whose process only the other end of its socket matters
    zygote._here, zygote._lock = here, threading.Lock()
    with here, there, tempfile.TemporaryFile() as facts, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(zygote.run, "tokens.image", {}, facts, facts, 60.0)
        _, files, _, _ = socket.recv_fds(there, 100, 4)
        for file in files:
            os.close(file)
        assert asked.result() == -signal.SIGKILL


def test_a_job_that_hangs_is_killed_with_what_it_started(smoked: Smoked, tmp_path: Path) -> None:
    left = tmp_path / "pid"
    body = f"""if modality == "image":
        child = os.fork()
        if child: open({str(left)!r}, "w").write(str(child))
        time.sleep(60)"""
    report = smoked(body, timeout=5)
    check = _by_name(report)["tokens.image"]
    assert "while being image: the time limit" in check.explanation
    until = time.monotonic() + 10
    while Path("/proc", left.read_text()).exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_library_that_ends_the_zygote_is_every_jobs_own_finding(
    smoked: Smoked, site: Path
) -> None:
    (site / "torch.py").write_text("import os; os.kill(os.getpid(), 11)")
    report = smoked("__import__('numpy'); __import__('torch')")
    assert {check.status for check in report.checks} == {CheckStatus.ERROR}
    assert all("SIGSEGV while being" in check.explanation for check in report.checks)
    assert _imports(site) == 4


def test_a_zygote_that_never_comes_is_not_waited_for_beyond_the_limit(
    smoked: Smoked, site: Path
) -> None:
    (site / "torch.py").write_text("import time; time.sleep(60)")
    started = time.monotonic()
    report = smoked("pass", timeout=3)
    assert time.monotonic() - started < 30
    assert all("the time limit" in check.explanation for check in report.checks)
