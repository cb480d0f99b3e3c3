"""Both engines give one tree, and a bump costs both one layer (`make engine`; real indexes)."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuilder.engines.docker import build_with_docker
from envbuilder.layers.untar import untar
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.image import Image
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import fetch, make_image
from tests.contexts import context
from tests.integration.docker_light import Recording

pytestmark = [pytest.mark.integration, pytest.mark.docker]

SPEC = """\
version: 1
name: same
python: "3.13"
base: {debian: trixie}
system: {packages: [python3]}
packages:
  six: "==1.16.0"
  rich: "==14.0.0"        # an executable with dependencies
  numpy: "==2.2.0"        # compiled, with scripts
  uvicorn: "==0.34.0"
  jsonschema: "==4.23.0"  # a deep tree of small wheels
env: {GREETING: 'say "hi" to $USER'}
"""


@pytest.fixture(scope="module")
def store(trixie: Callable[[Path], Store], tmp_path_factory: pytest.TempPathFactory) -> Store:
    return trixie(tmp_path_factory.mktemp("same") / "store")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lockfiles") / "same.yaml"
    path.write_text(SPEC)
    return path


def test_same_tree_and_a_bump_is_one_stage_and_one_layer(store, spec, tmp_path, monkeypatch):
    lock = lock_environment(context(store), spec)
    embedded = make_image(context(store), lock)
    docker = build_with_docker(context(store), lock)
    assert tree(store, docker) == tree(store, embedded)
    # BuildKit adds the first of these for Windows images; settings are the same otherwise.
    settings = {key: value for key, value in docker.settings.items() if key != "ArgsEscaped"}
    assert comparable(settings) == comparable(embedded.settings)

    # A release that no other test has: BuildKit remembers what it ran for any of them.
    spec.write_text(SPEC.replace("1.16.0", "1.15.0"))
    bumped_lock = lock_environment(context(store), spec)
    fetch(context(store), bumped_lock)
    six = next(wheel for wheel in bumped_lock.wheels if wheel.name == "six")
    with wheel_file(store, six.sha256) as path:
        shutil.copy(path, tmp_path / six.filename)
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # no index, but a folder of this machine
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    watched = Recording()
    bumped = build_with_docker(context(store, watched), bumped_lock)
    assert [title.split("]")[0] for title in watched.runs] == ["[package-six 1/1"]
    before = {layer.digest for layer in docker.layers}
    changed = [layer.title for layer in bumped.layers if layer.digest not in before]
    assert changed == ["six 1.15.0", "lock"]


def test_bytecode_is_the_same_in_both(store, tmp_path):
    """Of both places where it is compiled; a step that edits a module is not hidden by it."""
    path = tmp_path / "same.yaml"
    path.write_text(SPEC + "bytecode: true\n")
    lock = lock_environment(context(store), path)
    embedded = make_image(context(store), lock)
    shown = tree(store, embedded)
    assert tree(store, build_with_docker(context(store), lock)) == shown
    module = "opt/venv/lib/python3.13/site-packages/six.py"
    step = f"sed -i '$a extra = 1' /{module} && python -c 'import six; six.extra'"
    path.write_text(SPEC + f"bytecode: true\nsteps: {{after_python: [{json.dumps(step)}]}}\n")
    docker = build_with_docker(context(store), lock_environment(context(store), path))
    found = tree(store, docker)
    compiled = "opt/venv/lib/python3.13/site-packages/__pycache__/six.cpython-313.pyc"
    assert {each for each in shown.keys() | found.keys() if shown.get(each) != found.get(each)} <= {
        module, compiled, *LOCK
    }  # fmt: skip
    assert found[compiled] != shown[compiled]
    assert [layer.kind for layer in docker.layers].count("bytecode") == 1


LOCK = ("usr/share/envbuilder/pylock.same.toml",)


def tree(store: Store, image: Image, *, hides: bool = False) -> dict[str, tuple[object, ...]]:
    """Give every path of an image: type, mode, owner, link, time, content.

    A layer ``hides`` files of those below it, or may not.
    """
    found: dict[str, tuple[object, ...]] = {}
    for layer in image.layers:
        with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
            for entry in tar.entries():
                info = entry.info
                content = hashlib.sha256(b"".join(tar.content())).hexdigest()
                path = info.name.rstrip("/").removeprefix("./")
                place, _, name = path.rpartition("/")
                if name.startswith(".wh."):
                    assert hides
                    del found[f"{place}/{name.removeprefix('.wh.')}"]
                    continue
                kind = "file" if info.type == tarfile.AREGTYPE else info.type
                found[path] = (
                    kind,
                    info.mode,
                    info.uid,
                    info.gid,
                    info.linkname,
                    info.mtime,
                    content,
                )
    return found


def comparable(settings: dict[str, object]) -> str:
    """Order the environment: engines write it as they like."""
    return json.dumps({**settings, "Env": sorted(settings["Env"])}, sort_keys=True)
