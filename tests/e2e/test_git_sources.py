"""Packages from git, by the command line: locked, built, smoked, moved, and told when they move."""

import pytest

from envbuilder.model.pylock import read_lock
from tests.servers import git_projects
from tests.servers.git import git_http
from tests.servers.git_repositories import Origin

pytestmark = [pytest.mark.integration]

SPEC = """\
version: 1
name: fromgit
python: "3.13"
base: {{debian: trixie}}
system: {{packages: [python3]}}
packages:
  flitty: {{git: "{url}/flitty/.git", tag: v1.2}}
  scmy: {{git: "{url}/scmy/.git", branch: main, commit: {commit}}}
index: {{exclude_newer: 2025-07-01T00:00:00Z}}
"""


@pytest.fixture
def origins(tmp_path):
    made = {}
    for name, files, tag in (
        ("flitty", git_projects.FLIT, "v1.2"),
        ("scmy", git_projects.SCM, "v0.9"),
    ):
        made[name] = Origin.create(tmp_path / "served" / name)
        made[name].commit(files)
        made[name].tag(tag)
        made[name].commit({"more.txt": "x"})
    return made


@pytest.fixture
def server(tmp_path, origins):
    with git_http(tmp_path / "served") as running:
        spec = SPEC.format(url=running.url, commit=origins["scmy"].git("rev-parse", "HEAD")[:10])
        (tmp_path / "spec.yaml").write_text(spec)
        yield running


@pytest.fixture
def checkout(small, server, tmp_path):  # noqa: ARG001 - the spec names it
    """Give a checkout with the spec, in the store that has the base already."""
    made = small.copy(tmp_path / "checkout")
    (made.folder / "lockfiles" / "fromgit.yaml").write_text((tmp_path / "spec.yaml").read_text())
    return made


def test_the_main_job_with_packages_from_git(checkout, origins, server, tmp_path):
    built = checkout.json("build", "fromgit")
    assert built["good"]
    lock = read_lock(checkout.folder / "lockfiles" / "pylock.fromgit.toml")
    flitty, scmy = lock.sources
    assert scmy.version == f"0.10.dev1+g{scmy.commit[:9]}"
    assert all(source.wheel for source in lock.sources)

    checkout.run("build", "fromgit", "--no-smoke", "--check-reproducible")
    checkout.run("wheels", "export", "moved", "fromgit")
    other = checkout.copy(tmp_path / "other", ENVBUILDER_CACHE=str(tmp_path / "store"))
    done = other.run("wheels", "import", str(checkout.folder / "moved"))
    assert str(flitty.wheel.sha256) in done.stdout

    server.login = ("nobody", "may")
    again = checkout.json("build", "fromgit", "--no-smoke", "--locked", "--offline")
    assert again["image"] == built["image"]
    refused = checkout.run("lock", "fromgit", code=10)
    assert "refused our login" in refused.stderr
    server.login = None

    origins["flitty"].tag("v1.2", force=True)
    moved = checkout.run("lock", "fromgit", code=4)
    assert f"{flitty.commit} was locked" in moved.stderr
    checkout.run("lock", "fromgit", "--upgrade-package", "flitty")
    lock = read_lock(checkout.folder / "lockfiles" / "pylock.fromgit.toml")
    assert lock.sources[0].commit != flitty.commit
    assert lock.sources[1] == scmy
    assert lock.sources[0].wheel is None
    checkout.run("smoke", "fromgit")  # builds it first


def test_a_build_that_fails_exits_with_7_and_names_its_log(checkout, origins):
    files = dict(git_projects.FLIT)
    files["pyproject.toml"] = files["pyproject.toml"].replace("flit_core.buildapi", "missing")
    origins["flitty"].commit(files)
    origins["flitty"].tag("v1.2", force=True)
    failed = checkout.run("lock", "fromgit", code=7)
    assert "No module named 'missing'" in failed.stderr
    assert "the whole log: " in failed.stderr
