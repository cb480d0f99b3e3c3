"""Own files, a user and variables: both engines give one tree (`make engine`; a real Debian)."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuilder.engines.docker import build_with_docker
from envbuilder.layers.untar import untar
from envbuilder.model.progress import Silent
from envbuilder.runtime import Command, choose
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import current_lock, lock_environment
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.integration.test_docker_same_tree import comparable, tree

pytestmark = [pytest.mark.integration, pytest.mark.docker]

SPEC = """\
version: 1
name: own
python: "3.13"
base: {debian: trixie}
system: {packages: [python3]}
packages: {six: "==1.17.0"}
user: {name: app, uid: 1000}
env: {PATH: "/srv/app/bin:$PATH", GREETING: "${LANG} $$HOME"}
files:
  - {from: app/, to: /srv/app, owner: app, exclude: ["*.pyc"]}
  - {from: chat.jinja, to: /root/templates/chat.jinja, mode: "0600"}
  - {from: app/bin/, to: /bin, mode: "0755"}
  - {from: chat.jinja, to: /home/app/}
  - {from: app/deep/, to: /srv/app/deep/er, owner: "5:6"}
  - {from: patch/, to: /usr/lib/python3.13}
  - {from: patch/this.py, to: /etc/python3.13/sitecustomize.py}
"""


def test_one_tree(trixie: Callable[[Path], Store], tmp_path: Path):
    bin_folder = tmp_path / "app" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "serve").write_text("#!/bin/sh\n")
    (bin_folder / "serve").chmod(0o775)
    deep = tmp_path / "app" / "deep"
    deep.mkdir()
    (deep / "a b.txt").write_text("ä")
    (deep / "a.pyc").write_text("x")
    (deep / "link").symlink_to("a b.txt")
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "this.py").write_text("print('mine')")
    spec = tmp_path / "own.yaml"
    spec.write_text(SPEC)
    store = trixie(tmp_path / "store")
    lock = lock_environment(context(store), spec)
    assert current_lock(context(store), spec) == lock
    embedded = make_image(context(store), lock)
    docker = build_with_docker(context(store), lock)
    found, other = (tree(store, each, hides=True) for each in (embedded, docker))
    assert found == other
    compiled = {
        path.rpartition("/")[2].partition(".")[0] for path in found if "__pycache__" in path
    }
    assert "os" in compiled
    assert compiled.isdisjoint({"this", "sitecustomize"}), "Python would run these"
    command = Command(args=("/usr/bin/python3", "-c", "import this"))
    said = choose("auto", store).run(embedded, command, progress=Silent()).stdout
    assert said == b"mine\nmine\n", "sitecustomize, and this"
    assert found["srv/app/bin/serve"][1:4] == (0o755, 1000, 1000)
    assert found["srv/app/deep/er/link"][2:5] == (5, 6, "a b.txt")
    assert found["root/templates/chat.jinja"][1:4] == (0o600, 0, 0)
    assert found["root"][1] == 0o700
    assert "usr/bin/serve" in found
    assert "srv/app/deep/a.pyc" not in found
    assert found["home/app"][1:4] == (0o755, 1000, 1000)
    assert [layer.title for layer in docker.layers if layer.kind == "files"] == [
        *(layer.title for layer in embedded.layers if layer.kind == "files"),
        "replaced modules",
    ]
    settings = {key: value for key, value in docker.settings.items() if key != "ArgsEscaped"}
    assert comparable(settings) == comparable(dict(embedded.settings))
    assert json.loads(docker.config)["config"]["User"] == "1000:1000"


STEP = """\
version: 1
name: stepped
python: "3.13"
base: {debian: trixie}
system: {packages: [python3]}
packages: {}
steps: {before_python: ["echo 'print(2 * 21)' >/usr/lib/python3.13/this.py"]}
"""


def test_python_runs_what_a_step_wrote_into_a_module(
    trixie: Callable[[Path], Store], tmp_path: Path
):
    spec = tmp_path / "stepped.yaml"
    spec.write_text(STEP)
    store = trixie(tmp_path / "store")
    lock = lock_environment(context(store), spec)
    command = Command(args=("/usr/bin/python3", "-c", "import this"))
    for image in (make_image(context(store), lock), build_with_docker(context(store), lock)):
        (step,) = (layer for layer in image.layers if layer.kind == "step")
        with untar(store.path(step.digest), step.media_type, step.diff_id) as tar:
            paths = {entry.info.name.strip("./") for entry in tar.entries() if entry.info.isreg()}
        cache = "usr/lib/python3.13/__pycache__"
        assert paths == {"usr/lib/python3.13/this.py", f"{cache}/.wh.this.cpython-313.pyc"}
        assert choose("auto", store).run(image, command, progress=Silent()).stdout == b"42\n"
