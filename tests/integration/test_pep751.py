"""A lock is valid PEP 751 whatever kind of package it holds, and `uv pip sync` installs from it."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
from packaging.pylock import Pylock
from uv import find_uv_bin

from envbuilder.model.pylock import lock_path
from tests.integration.test_archives import World, make_project
from tests.sdists import project, sdist
from tests.servers.git import git_http
from tests.servers.git_repositories import Origin
from tests.servers.packages import Packages
from tests.servers.scripted import scripted
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

KINDS = {
    "a wheel of an index": ("wheels", 'app: "==1.0"'),
    "a wheel of one named index": ("wheels", 'app: {version: "==1.0", index: own}'),
    "a wheel by address": ("wheels", 'app: {url: "http://HOST/files/app-1.0-py3-none-any.whl"}'),
    "a wheel in a file": ("wheels", "app: {path: ../app-1.0-py3-none-any.whl}"),
    "an sdist of an index": ("sdist", 'app: "==1.0"'),
    "an sdist by address": ("archive", 'app: {url: "http://HOST/files/app-1.0.tar.gz"}'),
    "an sdist in a file": ("archive", "app: {path: ../app-1.0.tar.gz}"),
    "a folder": ("directory", "app: {path: ../app}"),
    "a repository": ("vcs", 'app: {git: "GIT", tag: v1}'),
}
"""What a package is, the key that PEP 751 has for it, and how a spec says it."""


@pytest.fixture
def world(tmp_path):
    packages = Packages(wheels={})
    with scripted(packages.respond) as running:
        yield World(tmp_path, running.host, packages)


@pytest.fixture
def repository(tmp_path):
    """Serve ``app`` from git; give its address."""
    origin = Origin.create(tmp_path / "git" / "app")
    origin.commit(project("app", code="made = 1\n"))
    origin.tag("v1")
    with git_http(tmp_path / "git") as server:
        yield server.address("app/.git")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_package_is_valid_and_installs(world, repository, kind):
    key, packages = KINDS[kind]
    offer(world, key)
    packages = packages.replace("HOST", world.host).replace("GIT", repository)
    named = f', named: {{own: "http://{world.host}/simple"}}' if "own" in packages else ""
    world.lock(packages, sdists="[app]" if key == "sdist" else "[]", more=named)
    path = lock_path(world.folder / "x.yaml")
    document = tomllib.loads(path.read_text("utf-8"))
    (package,) = Pylock.from_dict(document).packages
    assert getattr(package, key), kind
    assert package.name == "app"

    lay_beside(world)
    target = world.root / "target"
    run = [find_uv_bin(), "pip", "sync", "--quiet", "--target", str(target)]
    run += ["--python", sys.executable, "--no-index", str(path)]
    done = subprocess.run(run, cwd=world.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (target / "app.py").read_text() == "made = 1\n"


def offer(world: World, key: str) -> None:
    """Put ``app`` on the index, beside the specs' folder and into a folder, as ``key`` wants it."""
    if key == "wheels":
        path = write_wheel(world.root, Recipe(name="app", files={"app.py": b"made = 1\n"}))
        world.files[path.name] = path.read_bytes()
    else:
        data = sdist("app-1.0", project("app", code="made = 1\n"))
        world.files["app-1.0.tar.gz"] = data
        (world.root / "app-1.0.tar.gz").write_bytes(data)
        make_project(world.root / "app", "app", code="made = 1\n")


def lay_beside(world: World) -> None:
    """Lay the index's files where `envbuilder fetch` lays them, and close the index."""
    for name, data in world.files.items():
        folder = world.folder / ("wheels" if name.endswith(".whl") else "sdists")
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    world.files.clear()
