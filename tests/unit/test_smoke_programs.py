"""What a start's arguments lead to, read as Python's own getopt and as wrappers read them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from envbuilder.smoke.probe.arguments import of_python, wrapped
from envbuilder.smoke.probe.programs import follow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text("print('app')")
    for package in ("runs", "idle", "space"):
        (tmp_path / package).mkdir()
    for file in ("runs/__init__.py", "runs/__main__.py", "idle/__init__.py", "idle/part.py"):
        (tmp_path / file).write_text("")
    return tmp_path


SOUND = [
    ["-W", "ignore", "app.py"],
    ["-Wignore", "app.py"],
    ["-X", "faulthandler", "app.py"],
    ["-uX", "dev", "app.py"],
    ["-uBc", "print(1)"],
    ["-c", "print(1)", "nosuch.py"],
    ["-um", "runs"],
    ["-mruns", "-c"],
    ["-m", "idle.part", "-m", "nosuch"],
    ["--check-hash-based-pycs", "always", "app.py"],
    ["--", "app.py"],
    ["-u", "--", "app.py", "--", "nosuch"],
    ["runs"],
    ["-"],
    ["-V", "nosuch.py"],
    ["--version", "nosuch.py"],
    ["-sE", "-m", "runs"],
]
BROKEN = [
    (["-W", "ignore", "nosuch.py"], "the script 'nosuch.py': there is no such file"),
    (["-X", "dev", "-u", "nosuch.py"], "the script 'nosuch.py': there is no such file"),
    (["--check-hash-based-pycs", "always", "nosuch.py"], "the script 'nosuch.py'"),
    (["-um", "nosuch"], "the module 'nosuch': there is no such module"),
    (["-umnosuch"], "the module 'nosuch': there is no such module"),
    (["-m", "idle"], "the module 'idle': idle is a package without __main__"),
    (["-m", "space"], "the module 'space': space is a package without __main__"),
    (["-m", "nosuch.part"], "the module 'nosuch.part': ModuleNotFoundError"),
    (["-Im", "runs"], "the module 'runs': there is no such module"),
    (["idle"], "the script 'idle': it is a folder without __main__.py"),
    (["-u", "-m"], "the option '-m': it ends the arguments"),
    (["-W"], "the option '-W': it ends the arguments"),
    (["--check-hash-based-pycs"], "the option '--check-hash-based-pycs'"),
]


def problems(args: Sequence[str], folder: Path) -> list[str]:
    links = follow([str(each) for each in args], str(folder))
    return [
        f"{one['role']} {one['program']!r}: {one['problem']}" for one in links if one["problem"]
    ]


@pytest.mark.parametrize("words", SOUND)
def test_arguments_that_python_runs_with_are_sound(words: list[str], folder: Path) -> None:
    assert problems([sys.executable, *words], folder) == []
    assert _runs(words, folder)


@pytest.mark.parametrize(("words", "said"), BROKEN)
def test_arguments_that_python_cannot_run_with_are_named(
    words: list[str], said: str, folder: Path
) -> None:
    (found,) = problems([sys.executable, *words], folder)
    assert found.startswith(said)
    assert not _runs(words, folder)


def _runs(words: list[str], folder: Path) -> bool:
    """Ask Python itself."""
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False
    ).returncode == 0  # fmt: skip


def test_the_words_behind_a_module_or_a_text_are_its_own() -> None:
    assert of_python(["-m", "app", "-W"]) == ("m", "app", [])
    assert of_python(["-c", "code", "-m", "x"]) == ("", None, [])
    assert of_python(["-IsuP", "app.py", "-m"]) == ("script", "app.py", ["-I", "-s", "-P"])


@pytest.mark.parametrize(
    ("args", "behind"),
    [
        (["dumb-init", "nosuch"], ["nosuch"]),
        (["/usr/bin/dumb-init", "-v", "--rewrite", "15:3", "a", "-x"], ["a", "-x"]),
        (["dumb-init", "--rewrite=15:3", "-r", "2:3", "--", "a"], ["a"]),
        (["tini", "a", "--", "b"], ["a", "--", "b"]),
        (["tini", "-gp", "SIGTERM", "-e143", "-vv", "a"], ["a"]),
        (["tini", "--"], []),
        (["docker-init", "--", "a"], ["a"]),
        (["catatonit", "-g", "a"], ["a"]),
        (["env", "K=V", "X=", "a", "b=c"], ["a", "b=c"]),
        (["env", "-v", "--", "K=V", "a"], ["a"]),
        (["env", "-S", "K=V a -u", "b"], ["a", "-u", "b"]),
        (["env", "-S K=V a"], ["a"]),
        (["env", "-vSa b"], ["a", "b"]),
        (["env", "--split-string=a b", "c"], ["a", "b", "c"]),
        (["env", "-S", "a 'b"], []),
        (["env", "K=V"], []),
        (["env", "PATH=/opt", "a"], []),
        (["env", "-i", "a"], []),
        (["env", "-", "a"], []),
        (["env", "-u", "X", "a"], []),
        (["env", "-C", "/opt", "a"], []),
        (["bash", "-c", "a"], []),
    ],
)
def test_a_wrapper_starts_the_first_word_that_is_no_option(
    args: list[str], behind: list[str]
) -> None:
    assert wrapped(args) == behind


def test_what_a_wrapper_starts_is_followed(folder: Path) -> None:
    env = "/usr/bin/env"
    for args in ([env, "K=V", "nosuch"], [env, "-S", "nosuch -u"], [env, env, "nosuch"]):
        assert problems(args, folder) == ["the entry point 'nosuch': there is no such program"]
    assert problems([env, "K=V", sys.executable, "-m", "idle"], folder) == [
        "the module 'idle': idle is a package without __main__"
    ]
    assert problems([env, "PATH=/opt", "nosuch"], folder) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("#!/usr/bin/env -S python3 -u", ""),
        ("#!/usr/bin/env python3 ", ""),
        ("#!/usr/bin/env nosuch", "'nosuch': there is no such program"),
        ("#!/usr/bin/env python3 -u", "'python3 -u': there is no such program"),
    ],
)
def test_a_scripts_first_line_has_one_argument(line: str, said: str, folder: Path) -> None:
    script = folder / "start"
    script.write_text(f"{line}\nprint(1)\n")
    script.chmod(0o755)
    assert problems([str(script)], folder) == (
        [f"the interpreter of {script} {said}"] if said else []
    )
    done = subprocess.run([script], capture_output=True, check=False, env=dict(os.environ))
    assert (done.returncode == 0) is not bool(said)


def test_only_pythons_own_names_are_read_as_python(folder: Path) -> None:
    for name in ("python-serve", "pythonize", "python3-config"):
        program = folder / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        assert problems([str(program), "nosuch.py"], folder) == []
    for name in ("python", "python3", "python3.13", "python3.13t"):
        program = folder / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        assert len(problems([str(program), "nosuch.py"], folder)) == 1
