"""The forks of tests/command.py are what ``python -m envbuilder`` is."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import command
from tests.command import COMMAND, envbuilder

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
READ = """
import os
import git  # which starts git, with all variables
from tests.command import _import_everything
read = set()
class Environ(type(os.environ)):
    def __getitem__(self, name):
        read.add(name)
        return super().__getitem__(name)
os.environ.__class__ = Environ
_import_everything()
print(*read)
"""


@pytest.mark.parametrize(
    "words",
    [["--help"], ["nonsense"], ["build", "none"], ["cache", "ls"], ["schema"]],
    ids=" ".join,
)
def test_a_fork_answers_as_a_new_interpreter_does(words, tmp_path, monkeypatch):
    monkeypatch.setenv("ENVBUILDER_CACHE", str(tmp_path / "store"))
    real = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    fork = envbuilder(*words, code=None)
    assert (fork.returncode, fork.stdout, fork.stderr) == (
        real.returncode,
        real.stdout,
        real.stderr,
    )


def test_the_folder_and_the_umask_are_this_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = os.umask(0o077)
    try:
        envbuilder("keys", "new", "closed", ENVBUILDER_KEY_PASSWORD="x")
    finally:
        os.umask(old)
    (tmp_path / "folder").mkdir()
    envbuilder("keys", "new", "open", cwd="folder", ENVBUILDER_KEY_PASSWORD="x")
    closed, opened = tmp_path / "closed.pub", tmp_path / "folder" / "open.pub"
    modes = [path.stat().st_mode & 0o777 for path in (closed, opened)]
    assert modes == [0o600, 0o666 & ~old]


def test_one_command_leaves_the_next_no_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("ENVBUILDER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stores = [tmp_path / "one", tmp_path / "cache" / "envbuilder"]
    assert str(stores[0]) in envbuilder("cache", "dir", ENVBUILDER_CACHE=str(stores[0])).stdout
    assert str(stores[1]) in envbuilder("cache", "dir").stdout


def test_many_commands_at_once_have_their_own_answers(tmp_path):
    def where(number: int) -> str:
        return envbuilder("cache", "dir", ENVBUILDER_CACHE=f"{tmp_path}/{number}").stdout.strip()

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(where, range(32))] == [f"{tmp_path}/{number}" for number in range(32)]


@pytest.fixture
def waiting(tmp_path):
    """Give the arguments of a command that waits for a text that never comes."""
    os.mkfifo(tmp_path / "spec.yaml")
    return ("lock", "--file", tmp_path / "spec.yaml", "--dry-run")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_signal_meets_the_command_alone(waiting, monkeypatch, sent, code):
    told = command._told

    def stop(answer):
        process = told(answer)
        monkeypatch.setattr(command, "_told", told)
        with waiting[2].open("w"):  # which waits until the command reads
            os.kill(process, sent)
            return process

    monkeypatch.setattr(command, "_told", stop)
    done = envbuilder(*waiting, code=code)
    assert done.stderr == ("\nerror: interrupted\n" if code > 0 else "")
    assert envbuilder("--version").stdout.startswith("envbuilder")


def test_a_command_that_takes_too_long_is_killed(waiting):
    with pytest.raises(subprocess.TimeoutExpired):
        envbuilder(*waiting, timeout=0.1)


def test_a_wrong_exit_code_says_what_was_said():
    with pytest.raises(AssertionError, match="there is no command 'nonsense'"):
        envbuilder("nonsense")


def test_what_python_reads_at_its_start_gets_a_new_one():
    assert "import 'envbuilder'" in envbuilder("--version", PYTHONVERBOSE="1").stderr


def test_no_module_reads_another_variable_when_it_is_imported():
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    names = done.stdout.decode().split()
    assert names
    assert [name for name in names if not name.startswith(command._READ_AT_START)] == []
