"""Fetching that is killed, starved of disk, or done by several processes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from envbuilder.model.git_url import Address
from envbuilder.model.progress import Silent
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.storage.store import Store
from tests.servers.git import GitHttp, git_http
from tests.servers.git_repositories import Origin

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
FETCH = [sys.executable, "-m", "tests.integration.fetch_commit"]


@pytest.fixture
def origin(tmp_path) -> Origin:
    return Origin.create(tmp_path / "served" / "proj")


@pytest.fixture
def server(tmp_path, origin):  # noqa: ARG001 - what it serves
    with git_http(tmp_path / "served") as running:
        yield running


def whole(url: str, commit: str, root: Path) -> bool:
    """Tell whether the store holds all of the commit, without asking the server again."""
    mirror = Mirror(Address.parse(url), store=Store(root), progress=Silent(), offline=True)
    return mirror.content(commit).run("fsck", "--connectivity-only", commit) is not None


def test_a_fetch_that_is_killed_leaves_what_the_next_one_completes(
    origin, server: GitHttp, tmp_path
):
    commit = origin.commit({"big.bin": os.urandom(2_000_000)})
    url = server.address("proj/.git")
    server.stall_after = 500_000
    process = subprocess.Popen([*FETCH, url, commit, str(tmp_path / "store")], cwd=ROOT,
                               start_new_session=True)  # fmt: skip
    while not list((tmp_path / "store" / "git").rglob("tmp_*")):
        assert process.poll() is None, "it ended before it began to write"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    server.stall_after = None
    server.go_on.set()
    done = subprocess.run([*FETCH, url, commit, str(tmp_path / "store")], cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.stdout == "done\n", done.stderr
    assert whole(url, commit, tmp_path / "store")
    assert not list((tmp_path / "store" / "git").rglob("tmp_pack*"))


def test_a_full_disk_is_said_in_words(origin, server, tmp_path):
    commit = origin.commit({"big.bin": os.urandom(4_000_000)})
    small = tmp_path / "small"
    small.mkdir()
    script = f'mount -t tmpfs -o size=2m none {small} && exec "$@"'
    private = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    done = subprocess.run(
        [*private, "sh", "-c", script, "sh", *FETCH, server.address("proj/.git"), commit,
         str(small / "store")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("DiskFullError the disk filled up while fetching"), done
    assert "envbuilder cache prune" in done.stdout


def test_processes_that_want_one_repository_share_one_fetch(origin, server, tmp_path):
    commit = origin.commit({"big.bin": os.urandom(1_000_000)})
    url = server.address("proj/.git")

    def fetch(_: int) -> str:
        command = [*FETCH, url, commit, str(tmp_path / "store")]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fetch, range(4))) == ["done\n"] * 4
    assert server.sent < 1_500_000
