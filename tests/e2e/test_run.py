"""``run`` and ``shell``: the demo's image in the foreground, with every engine that is here."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.command import COMMAND, envbuilder

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.integration


def _run(*args: str) -> subprocess.CompletedProcess:
    return envbuilder(*args, cwd=ROOT, code=None)


@pytest.fixture(scope="module", autouse=True)
def _demo(alone):
    with alone("demo"):  # the worker that comes later finds it in the store
        _run("build", "omni-cpu", "--locked", "--no-smoke")


ASK = "import os, sys; print(os.listdir('/model'), os.environ['A']); open('/x', 'w'); sys.exit(7)"


@pytest.mark.parametrize("engine", ["oci", "docker"])
def test_a_command_has_the_model_the_variables_and_its_own_exit_code(engine, tmp_path):
    (tmp_path / "config.json").touch()
    done = _run(
        "run", "omni-cpu", "--runtime", engine, "-e", "A=one two", "--model", str(tmp_path),
        "--", "python", "-c", ASK,
    )  # fmt: skip
    assert done.stdout == "['config.json'] one two\n", done.stderr
    assert done.returncode == 7
    assert "$ " in done.stderr  # what it ran
    assert not (ROOT / "x").exists()
    if engine == "docker":  # the image stays for the next run, the container does not
        assert len(_docker("images", "envbuilder/omni-cpu", "-q").split()) == 1
        name = _docker("images", "envbuilder/omni-cpu", "--format", "{{.Repository}}:{{.Tag}}")
        assert not _docker("ps", "-aq", "--filter", f"ancestor={name.strip()}").strip()


def test_a_shell_on_a_terminal_is_one():
    ours, theirs = pty.openpty()
    line = [*COMMAND, "shell", "omni-cpu", "--runtime", "oci"]
    with subprocess.Popen(
        line, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        os.write(ours, b"echo tty=$(tty); exit 5\n")
        said = b""
        while chunk := _read(ours):
            said += chunk
        assert process.wait(timeout=60) == 5
    assert b"tty=/dev/pts/0" in said


def test_the_network_is_this_hosts():
    ask = "import os; print(sorted(os.listdir('/sys/class/net')))"
    here = str(sorted(path.name for path in Path("/sys/class/net").iterdir()))
    done = _run("run", "omni-cpu", "--runtime", "oci", "--", "python", "-c", ask)
    assert done.stdout.strip() == here, done.stderr


def test_what_cannot_start_says_so():
    done = _run("run", "omni-cpu", "--runtime", "oci", "--", "no-such-program")
    assert done.returncode == 8
    assert "no-such-program cannot be started in the image" in done.stderr
    done = _run("run", "omni-cpu", "--model", "/no/such/folder")
    assert done.returncode == 2
    assert "/no/such/folder is no folder" in done.stderr


def _docker(*args: str) -> str:
    return subprocess.check_output(["docker", *args], text=True)


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 4096)
    except OSError:  # Linux says so where the other end is closed
        return b""
