"""What goes wrong is said in one message, with the right exit code, and leaves nothing behind."""

import glob
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.command import COMMAND

from .conftest import SPEC, Checkout

pytestmark = pytest.mark.integration


@pytest.fixture
def fresh(tmp_path):
    """A checkout with the small spec and an empty store."""
    (tmp_path / "lockfiles").mkdir()
    checkout = Checkout(tmp_path, {"ENVBUILDER_CACHE": str(tmp_path / "store")})
    checkout.spec.write_text(SPEC)
    return checkout


def test_unknown_environment(fresh):
    done = fresh.run("build", "smal", code=2)
    assert "lockfiles/ holds: small" in done.stderr


def test_a_broken_spec_writes_no_lock(fresh):
    fresh.spec.write_text(SPEC.replace("packages:", "pakages:", 1))
    done = fresh.run("lock", "small", code=3)
    assert "did you mean packages?" in done.stderr
    assert not fresh.lock.exists()


def test_a_stale_lock_is_not_built(small, tmp_path):
    other = small.copy(tmp_path / "stale")
    other.spec.write_text(other.spec.read_text().replace("4.67.1", "4.67.0"))
    done = other.run("build", "small", code=5)
    assert "4.67.0" in done.stderr
    assert "hint: envbuilder lock small" in done.stderr
    other.run("lock", "small", "--check", code=5)


def test_a_version_that_does_not_exist(small, tmp_path):
    other = small.copy(tmp_path / "none")
    before = other.lock.read_bytes()
    # Without the date: not every index tells when it got a file, and uv would speak of that first.
    text = other.spec.read_text().replace("index: {exclude_newer: 2025-07-01T00:00:00Z}\n", "")
    other.spec.write_text(text.replace("4.67.1", "999.0"))
    done = other.run("lock", "small", code=4)
    assert "tqdm==999.0" in done.stderr
    assert other.lock.read_bytes() == before


def test_pins_that_conflict_say_who_wants_what(small, tmp_path):
    other = small.copy(tmp_path / "conflict")
    pins = '  jinja2: "==3.1.6"\n  MarkupSafe: "==1.1.1"\n  Six'
    other.spec.write_text(other.spec.read_text().replace("  Six", pins))
    done = other.run("lock", "small", code=4)
    assert "jinja2==3.1.6" in done.stderr
    assert "markupsafe" in done.stderr.lower()


def test_no_network(small, tmp_path, closed):
    other = small.copy(tmp_path / "offline", ENVBUILDER_CACHE=str(tmp_path / "empty"))
    done = other.run("build", "small", "--offline", "--no-smoke", code=10)
    assert "the store lacks" in done.stderr
    assert "envbuilder fetch small" in done.stderr
    unreachable = {"UV_DEFAULT_INDEX": f"{closed}/simple", "UV_CACHE_DIR": str(tmp_path)}
    done = other.run("lock", "small", code=10, **unreachable)
    assert "cannot ask the package index" in done.stderr


def test_no_container_runtime(small):
    done = small.run("build", "small", "--runtime", "oci", code=6, PATH="/nonexistent")
    assert "hint: apt-get install" in done.stderr


def test_a_wheel_that_is_not_the_locked_one(small, tmp_path):
    other = small.elsewhere(tmp_path / "tampered")
    text = other.lock.read_text()
    start = text.index("sha256", text.index('name = "tqdm"'))
    digest = text[start:].split('"')[1]
    other.lock.write_text(text.replace(digest, "0" * 64))
    done = other.run("build", "small", "--no-smoke", code=4)
    assert "no configured index offers these locked files" in done.stderr
    assert "tqdm" in done.stderr


MOMENTS = {
    "it began": "store/locks/*",
    "a layer of a wheel is there": "store/records/layer/*",
    "Debian's packages are being unpacked": "scratch/envbuilder-*/mmdebstrap.*/usr/bin",
    "they are being installed": "scratch/envbuilder-*/mmdebstrap.*/var/lib/dpkg/info/*.list",
}
"""What shows in the folder that a build has come so far, in the order of a build."""


def test_killed_at_any_moment_the_next_two_runs_at_once_succeed(small, tmp_path):
    """kill -9 later and later; what is left never stops or spoils who comes next."""
    other = small.elsewhere(tmp_path / "killed")
    (other.folder / "scratch").mkdir()
    command = [*COMMAND, "build", "small", "--no-smoke", "--locked"]
    environment = {**os.environ, **other.env, "TMPDIR": str(other.folder / "scratch")}
    for moment, sign in MOMENTS.items():
        with subprocess.Popen(
            command, cwd=other.folder, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            # Path.glob raises if a folder goes meanwhile, as those of a dead build do.
            while not glob.glob(sign, root_dir=other.folder):  # noqa: PTH207
                assert process.poll() is None, f"it ended before {moment}"
                time.sleep(0.01)
            process.kill()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(other.json, *command[len(COMMAND) :]) for _ in range(2)]
    images = {each.result()["image"] for each in both}
    assert len(images) == 1
    assert images.pop() in small.lock.read_text()
    found = re.findall(r"(\w+): (\d+) of (\d+) sound\n", other.run("cache", "verify").stdout)
    assert [what for what, sound, total in found if sound != total] == []
    assert {"blobs", "records"} <= {what for what, sound, _ in found if int(sound)}


def test_ctrl_c_says_so_and_leaves_nothing(small, tmp_path):
    other = small.elsewhere(tmp_path / "stopped")
    process = subprocess.Popen(
        [*COMMAND, "build", "small", "--no-smoke"],
        cwd=other.folder, env={**os.environ, **other.env},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert any(line.startswith("layer") for line in process.stderr)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert stderr.endswith("error: interrupted\n")
    assert not list((other.folder / "store" / "tmp").glob("*"))
