"""A history of a real size, 15 000 commits and 200 MB: what locking one commit of it transfers."""

import subprocess

import pytest

from envbuilder.model.git_url import Address
from envbuilder.model.package_spec import GitPackage
from envbuilder.model.progress import Silent
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.resolve.git.refs import resolve_git
from envbuilder.resolve.git.scm_version import describe
from envbuilder.storage.store import Store
from tests.servers.git import GitHttp, git_http
from tests.servers.git_large import make_repository

pytestmark = [pytest.mark.integration, pytest.mark.deep]

COMMITS = 15_000


def test_a_commit_of_a_large_repository_costs_no_more_than_a_blobless_clone(tmp_path):
    ids = make_repository(tmp_path / "served" / "big.git", COMMITS)
    packs = (tmp_path / "served" / "big.git").rglob("*.pack")
    assert sum(pack.stat().st_size for pack in packs) > 200_000_000
    with git_http(tmp_path / "served") as server:
        url = server.address("big.git")
        blobless = sent(server, "git", "clone", "-q", "--filter=blob:none", url, tmp_path / "clone")
        store = Store(tmp_path / "store")
        assert find(server, url, ids[-100], store) < blobless
        assert find(server, url, ids[-50], store) < blobless / 10
        assert find(server, url, ids[-50], store) < 10_000  # branches and tags, nothing else


def find(server: GitHttp, url: str, commit: str, store: Store) -> int:
    """Find a commit by its short id on its branch, with files and tag; count the bytes sent."""
    server.sent = 0
    mirror = Mirror(Address.parse(url), store=store, progress=Silent())
    pin = GitPackage(git=url, branch="main", commit=commit[:12])
    assert resolve_git("scmy", pin, mirror=mirror).commit == commit
    assert describe(mirror.history, commit, {}).startswith("v0.30-")
    return server.sent


def sent(server: GitHttp, *command: object) -> int:
    server.sent = 0
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return server.sent
