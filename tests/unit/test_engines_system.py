"""What the embedded engine borrows from BuildKit, here a program that stands in for docker."""

import threading
import time
from dataclasses import replace

import pytest

from envbuilder.engines.system import system_layers
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer, compose
from envbuilder.model.lock import ImageBase
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from tests.contexts import context

from . import locks

DOCKER = """\
#!/bin/sh
here={here}
case "$*" in
  *"buildx version"*) echo v0.13.1 ;;
  *"buildx inspect"*) printf 'Name: far\\nDriver: remote\\nBuildKit version: v0.23.0\\n' ;;
  *"buildx build"*) echo build >>$here/asked; {build} ;;
esac
"""
COPIES = 'cp -r $here/layout "$(echo "$*" | sed "s/.*dest=//; s/,.*//")"'
HANGS = """\
trap 'kill $!; echo interrupted >$here/end; exit 1' INT
sleep 60 >&- 2>&- &
touch $here/begun; wait"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a docker on PATH whose build does what the shell says."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))

    def answer(build):
        (tmp_path / "docker").write_text(DOCKER.format(here=tmp_path, build=build))
        (tmp_path / "docker").chmod(0o755)

    return answer


def on_image(store, **settings):
    """Lock one step on a base of one layer whose config has ``settings``."""
    layer = Layer(digest=store.add(b"base"), size=4, diff_id=Digest.of(b"base's tar"))
    image = compose((layer,), platform="linux/amd64", settings=settings)
    store.add(image.config)
    base = ImageBase(
        reference="registry.example.org/base:1",
        digest=image.digest,
        config=image.config_digest,
        layers=image.layers,
    )
    spec = {"base": {"image": base.reference}, "steps": {"before_python": ["id >/who"]}}
    return replace(locks.lock({}, **spec), base=base), image


def lay(lock, store, stop=None):
    return system_layers(context(store, stop=stop or threading.Event()), lock)


def test_each_base_keeps_its_own_settings(docker, store, tmp_path):
    docker(COPIES)
    step = Layer(digest=store.add(b"step"), size=4, diff_id=Digest.of(b"step's tar"))
    for env in (["A=1"], ["A=2"], ["A=2"]):
        lock, image = on_image(store, Env=env)
        above = compose((*image.layers, step), platform="linux/amd64", settings={"User": "root"})
        export(above, store, f"oci:{tmp_path}/layout", name="x", progress=Silent())
        found = lay(lock, store)
        assert found.settings == {"Env": env}
        assert [layer.digest for layer in found.layers] == [image.layers[0].digest, step.digest]
    # The step may have written another thing with another A; the third asks for nothing new.
    assert (tmp_path / "asked").read_text() == "build\nbuild\n"


def test_a_build_that_is_no_longer_wanted_is_ended(docker, store, tmp_path):
    docker(HANGS)
    lock, _ = on_image(store)
    stop = threading.Event()

    def change_of_mind():
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        stop.set()

    mind = threading.Thread(target=change_of_mind, daemon=True)
    mind.start()
    with pytest.raises(BuildError, match="was stopped"):
        lay(lock, store, stop)
    mind.join()
    assert (tmp_path / "end").read_text() == "interrupted\n"
