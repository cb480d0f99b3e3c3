"""What an image starts, smoked in a real container: its user, folder, entry point and module path.

The image is this interpreter with its standard library, and what each test puts beside it.
"""

import dataclasses
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from envbuilder.model.image import Layer
from envbuilder.model.progress import Silent
from envbuilder.runtime.oci import find_runtime
from envbuilder.smoke import (
    Check,
    CheckStatus,
    Expected,
    Report,
    SmokePlan,
    Start,
    as_it_starts,
    smoke,
)
from envbuilder.storage.store import Store
from tests.integration.python_image import PYTHON, SITE, standard_library
from tests.integration.tiny_image import layer_of, tiny_image
from tests.unit.smoke_documents import conform

pytestmark = pytest.mark.integration

Files = Mapping[str, bytes | None]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def library(store: Store) -> Layer:
    return layer_of(store, standard_library())


@pytest.fixture
def smoked(library: Layer, store: Store):
    """Return a function that smokes an image with these files and settings."""

    def run(
        files: Files,
        settings: Mapping[str, object],
        *,
        command: tuple[str, ...] = (),
        **plan: object,
    ) -> Report:
        image = tiny_image(store, config=settings, layers=[files], below=[library])
        asked = SmokePlan(
            gpu="never",
            python=PYTHON,
            checks=("start", "environment"),
            timeout=120,
            start=Start(run=command),
        )
        asked = as_it_starts(dataclasses.replace(asked, **plan), image.settings)
        with find_runtime(store).prepared(image, progress=Silent()) as ready:
            report = smoke(ready.run, asked)
        conform(report)
        return report

    return run


def _check(report: Report, name: str) -> Check:
    (check,) = [one for one in report.checks if one.name == name]
    return check


def test_an_image_that_starts_is_green_and_says_as_whom_and_where(smoked) -> None:
    report = smoked(
        {"opt/serve": b"#!/opt/py/bin/python3\nprint('serving')\n", "srv/": None},
        {
            "User": "builder",
            "WorkingDir": "/srv",
            "Entrypoint": ["serve"],
            "Cmd": ["--port", "8000"],
            "Env": ["PATH=/opt:/opt/py/bin:/bin", "HOME=/tmp"],
        },
        command=("serve", "--version"),
    )
    program = _check(report, "start.program")
    assert program.status is CheckStatus.PASS
    assert program.actual == "serve --port 8000"
    assert program.explanation.endswith("/opt/serve → /opt/py/bin/python3")
    user = _check(report, "start.user")
    assert (user.status, user.actual) == (CheckStatus.PASS, "builder in /srv")
    assert "open files" in user.explanation
    run = _check(report, "start.run")
    assert (run.status, run.explanation) == (
        CheckStatus.PASS,
        "`serve --version` ends with 0 and says: serving",
    )


def test_a_program_that_is_not_there_a_folder_that_is_not_and_a_user_of_nobody(smoked) -> None:
    report = smoked(
        {},
        {"User": "1234", "WorkingDir": "/app", "Entrypoint": ["vllm", "serve"]},
        command=("vllm", "--version"),
    )
    program = _check(report, "start.program")
    assert program.status is CheckStatus.FAIL
    assert "'vllm': there is no such program" in program.explanation
    user = _check(report, "start.user")
    assert user.status is CheckStatus.FAIL
    told = " ".join(user.details["findings"])
    assert "user 1234 has no name" in told
    assert "the working directory /app does not exist" in told
    if os.geteuid() == 0:  # else all files show as one's own
        assert "the home of user 1234, /, may not be written" in told
    run = _check(report, "start.run")
    assert run.status is CheckStatus.FAIL
    assert "FileNotFoundError" in run.explanation


BROKEN: dict[str, bytes | None] = {
    "opt/lost": b"#!/opt/none/python\n",
    "opt/env": b"#!/usr/bin/env none\n",
    "opt/dos": b"#!/bin/sh\r\n",
    "opt/text": b"hello",
    "opt/folder/": None,
    "bin/tini": b"#!/bin/sh\n",
}
LINKS = {
    ("/opt/lost",): "the interpreter of /opt/lost '/opt/none/python': there is no such program",
    ("/opt/env",): "'none': there is no such program",
    ("/opt/dos",): "carriage return",
    ("/opt/text",): "neither a script",
    ("/opt/folder",): "it is a folder",
    (PYTHON, "-m", "vllm.entrypoints"): "the module 'vllm.entrypoints'",
    (PYTHON, "-u", "serve.py"): "the script 'serve.py': there is no such file",
    ("dumb-init", "--", "none"): "'dumb-init': there is no such program",
    ("tini", "-s", "--", "none"): "'none': there is no such program",
}


def test_each_broken_link_is_named(library: Layer, store: Store) -> None:
    image = tiny_image(store, config={"Env": ["PATH=/bin"]}, layers=[BROKEN], below=[library])
    with find_runtime(store).prepared(image, progress=Silent()) as ready:
        for args, words in LINKS.items():
            start = Start(args=args)
            plan = SmokePlan(gpu="never", python=PYTHON, checks=("start",), start=start)
            check = _check(smoke(ready.run, plan), "start.program")
            assert check.status is CheckStatus.FAIL, check
            assert words in check.explanation


def test_libraries_that_a_program_lacks_are_named(smoked, tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text("int f(void); int main(void) { return f(); }")
    (tmp_path / "f.c").write_text("int f(void) { return 0; }")
    shared, program = tmp_path / "libabsent.so", tmp_path / "x"
    subprocess.run(["cc", "-shared", "-fPIC", tmp_path / "f.c", "-o", shared], check=True)
    subprocess.run(["cc", source, shared, "-o", program, "-Wl,-rpath,/none"], check=True)
    elf = program.read_bytes()
    report = smoked({"opt/x": elf}, {"Entrypoint": ["/opt/x"]})
    check = _check(report, "start.program")
    assert check.status is CheckStatus.FAIL
    assert "libabsent.so" in check.explanation
    assert "not found" in check.explanation or "cannot open" in check.explanation
    other = elf[:18] + b"\xb7\x00" + elf[20:]  # EM_AARCH64
    report = smoked({"opt/x": other}, {"Entrypoint": ["/opt/x"]})
    assert "built for another machine" in _check(report, "start.program").explanation


def test_an_image_without_a_program_leaves_that_to_whoever_runs_it(smoked) -> None:
    report = smoked({}, {})
    assert _check(report, "start.program").status is CheckStatus.SKIP
    assert _check(report, "start.user").status is CheckStatus.PASS


def _distribution(root: str, name: str, version: str, body: bytes) -> dict[str, bytes]:
    info = f"{root}/{name}-{version}.dist-info"
    return {
        f"{root}/{name}.py": body,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/top_level.txt": f"{name}\n".encode(),
    }


def test_modules_are_imported_from_the_images_own_path(smoked) -> None:
    """The base's PYTHONPATH holds another idna, which is what a server would import."""
    files = {
        **_distribution(SITE, "idna", "3.10", b""),
        **_distribution("opt/extra", "idna", "2.0", b"raise ImportError('of the base')\n"),
    }
    expected = (Expected(name="idna", version="3.10", requested=True),)
    plain = smoked(files, {}, expected=expected)
    assert _check(plain, "environment.import.idna").status is CheckStatus.PASS
    report = smoked(files, {"Env": ["PYTHONPATH=/opt/extra"]}, expected=expected)
    packages = _check(report, "environment.packages")
    assert packages.status is CheckStatus.FAIL
    assert "2.0 is what Python imports (from /opt/extra)" in packages.explanation
    assert "of the base" in _check(report, "environment.import.idna").explanation


def test_what_reads_tls_roots_needs_some(smoked) -> None:
    aiohttp = _distribution(SITE, "aiohttp", "3.0", b"")
    nothing = _check(smoked({}, {}), "start.tls")
    assert nothing.status is CheckStatus.SKIP
    bare = _check(smoked(aiohttp, {}), "start.tls")
    assert bare.status is CheckStatus.FAIL
    assert "which aiohttp read" in bare.explanation
    settings = {"Env": ["SSL_CERT_FILE=/etc/roots.pem"]}
    roots = _check(smoked({**aiohttp, "etc/roots.pem": b"x"}, settings), "start.tls")
    assert roots.status is CheckStatus.PASS


def test_a_command_that_fails_is_red_with_its_last_line(smoked) -> None:
    script = b"#!/opt/py/bin/python3\nimport sys\nprint('dying')\nsys.exit('no GPU')\n"
    report = smoked({"opt/x": script}, {"Env": ["PATH=/opt"]}, command=("x",))
    check = _check(report, "start.run")
    assert check.status is CheckStatus.FAIL
    assert check.explanation == "`x` ended with exit code 1: no GPU"


def test_what_a_start_touches_is_what_its_imports_read(smoked) -> None:
    body = b"import big\nopen(__file__.replace('lean.py', 'lean.bin')).close()\n"
    report = smoked(
        {
            **_distribution(SITE, "lean", "1", body),
            f"{SITE}/lean.bin": b"x" * 1000,
            f"{SITE}/never.py": b"raise SystemExit",
            f"{SITE}/big.py": b"",
            "srv/model.bin": b"x" * 100_000,
        },
        {},
        expected=(Expected(name="lean", version="1", requested=True),),
    )
    touched = report.touched
    assert touched is not None
    assert touched.by == ("import.lean",)
    read = {f"/{SITE}/{name}" for name in ("lean.py", "lean.bin", "big.py")}
    assert read <= touched.files
    assert not {f"/{SITE}/never.py", "/srv/model.bin"} & touched.files
    mapped = {Path(path).name for path in (*touched.files, *touched.chunks)}
    assert Path(PYTHON).name in mapped, "the interpreter itself is mapped"
    assert any(name.startswith("libc.so") for name in mapped)
    assert not any(path.startswith(("/run", "/proc", "/tmp", "/dev")) for path in touched.files)
    assert 101_000 < touched.size + 101_000 < touched.total
