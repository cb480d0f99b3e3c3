"""`init --from` what today's tools made: an environment and a lock of uv's, an image in Docker."""

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from uv import find_uv_bin

from envbuilder.model.package_spec import Index
from envbuilder.model.progress import Silent
from envbuilder.model.spec import requirement_lines
from envbuilder.model.spec_file import load
from envbuilder.registry.layout import export
from envbuilder.resolve.python.requirements import PythonTarget, resolve_python
from envbuilder.storage.store import Store
from tests.command import envbuilder
from tests.contexts import indexes as ask
from tests.integration.other_engines import docker
from tests.integration.tiny_image import tiny_image
from tests.servers.packages import Packages
from tests.servers.scripted import scripted
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]
RECIPES = (
    Recipe(name="app", version="1.0", requires=("lib>=1", "tool; extra == 'x'")),
    Recipe(name="lib", version="1.5"),
    Recipe(name="lib", version="2.0"),
    Recipe(name="tool", version="3.0"),
)
IMAGE = "envbuilder-test/adopt:1"


@pytest.fixture
def index(tmp_path):
    """Serve the wheels on loopback, and give the URL."""
    folder = tmp_path / "served"
    folder.mkdir()
    paths = [write_wheel(folder, recipe) for recipe in RECIPES]
    packages = Packages(wheels={path.name: path.read_bytes() for path in paths})
    with ExitStack() as stack:
        yield f"http://{stack.enter_context(scripted(packages.respond)).host}/simple"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a program in a folder of its own, and give what it wrote; it must succeed."""
    monkeypatch.setenv("ENVBUILDER_CACHE", str(tmp_path / "store"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))

    def call(*command):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def uv(run, *command):
    return run(find_uv_bin(), *command)


def init(folder, *arguments):
    return envbuilder("init", "mine", *arguments, cwd=folder).stdout


@pytest.fixture
def environment(tmp_path, run, index):
    """Make an environment that holds an older lib than the index would give."""
    uv(run, "venv", "env", "--python", sys.executable)
    python = os.path.join("env", "bin", "python")  # noqa: PTH118
    more = ["--default-index", index, "app[x]==1.0", "lib==1.5"]
    uv(run, "pip", "install", "--python", python, *more)
    return tmp_path / "env"


def resolved(spec, index):
    """Resolve a spec's packages as `lock` does."""
    minor = spec.python
    target = PythonTarget(python=minor, platform="linux/amd64", glibc=36)
    found = resolve_python(
        [str(each) for each in spec.requirements],
        indexes=ask(),
        target=target,
        index=Index(url=index),
        constraints=requirement_lines(spec.constraints),
    )
    return {wheel.name: wheel.version for wheel in found}


HELD = {"app": "1.0", "lib": "1.5", "tool": "3.0"}


def test_a_pinned_environment_resolves_to_what_it_holds(tmp_path, environment, index):
    said = init(tmp_path, "--from", str(environment), "--pin")
    spec = load(tmp_path / "lockfiles" / "mine.yaml")
    assert "statements came in" in said
    assert spec.packages == {"app": "==1.0", "tool": "==3.0"}
    assert spec.constraints == {"lib": "==1.5"}
    assert resolved(spec, index) == HELD
    init(tmp_path, "--from", str(environment), "--force")
    loose = load(tmp_path / "lockfiles" / "mine.yaml")
    assert resolved(loose, index)["lib"] == "2.0", "unpinned, what came along is chosen anew"


def test_the_output_of_pip_freeze_resolves_to_what_it_lists(tmp_path, run, environment, index):
    frozen = uv(run, "pip", "freeze", "--python", str(environment / "bin" / "python"))
    (tmp_path / "frozen.txt").write_text(frozen)
    init(tmp_path, "--from", "frozen.txt", "--pin")
    assert resolved(load(tmp_path / "lockfiles" / "mine.yaml"), index) == HELD


def test_a_project_with_its_lock_resolves_to_what_that_holds(tmp_path, run, index):
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "mine"\nversion = "0"\nrequires-python = "=={minor}.*"\n'
        'dependencies = ["app[x]"]\n[tool.uv]\nconstraint-dependencies = ["lib<2"]\n'
        f'[[tool.uv.index]]\nurl = "{index}"\ndefault = true\n'
    )
    uv(run, "lock", "--default-index", index)
    init(tmp_path, "--from", "uv.lock", "--pin")
    spec = load(tmp_path / "lockfiles" / "mine.yaml")
    assert (spec.python, spec.index.url) == (minor, index)
    assert resolved(spec, index) == HELD
    (tmp_path / "pylock.toml").write_text(uv(run, "export", "-q", "--format", "pylock.toml"))
    init(tmp_path, "--from", "pylock.toml", "--force")
    assert resolved(load(tmp_path / "lockfiles" / "mine.yaml"), index) == HELD


@pytest.mark.docker
@pytest.mark.usefixtures("run")
def test_an_image_in_docker_is_one_command(tmp_path):
    site = "usr/local/lib/python3.11/site-packages"
    store = Store(tmp_path / "images")
    layer = {
        "etc/os-release": b"ID=debian\nVERSION_CODENAME=bookworm\n",
        f"{site}/app-1.0.dist-info/METADATA": b"Name: app\nVersion: 1.0\nRequires-Dist: lib\n",
        f"{site}/lib-1.5.dist-info/METADATA": b"Name: lib\nVersion: 1.5\n",
    }
    image = tiny_image(store, layers=[layer], config={"Cmd": ["serve"], "Env": ["A=1"]})
    archive = export(image, store, f"{tmp_path}/image.tar", name=IMAGE, progress=Silent())
    docker("image", "load", "--input", str(archive))
    try:
        init(tmp_path, "--from", f"docker:{IMAGE}", "--pin")
    finally:
        docker("image", "rm", IMAGE)
    spec = load(tmp_path / "lockfiles" / "mine.yaml")
    assert (spec.packages, spec.constraints) == ({"app": "==1.0"}, {"lib": "==1.5"})
    assert (spec.base.debian, spec.cmd, spec.env) == ("bookworm", ("serve",), {"A": "1"})
