"""What the Docker engine refuses before anything is built."""

import pytest

from envbuilder.engines.docker import build_with_docker
from envbuilder.model.errors import MissingToolError, NetworkError
from envbuilder.storage.store import Store
from tests.contexts import context

from . import locks
from .rendered import image

STEPS = {"before_python": ["curl https://example.org"]}


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build offline where there is no docker: who goes on fails otherwise."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def call(lock):
        build_with_docker(context(Store(tmp_path), offline=True), lock)

    return call


@pytest.mark.parametrize(
    ("lock", "needs"),
    [
        (image(), "the image registry.example.org/base/cuda:12.4, wheels, what the spec's steps"),
        (locks.lock({"six": "1.17.0"}), "wheels$"),
        (locks.lock({}, steps=STEPS), "what the spec's steps ask for"),
    ],
    ids=["image", "wheels", "steps"],
)
def test_what_docker_would_fetch_is_refused_offline(build, lock, needs):
    with pytest.raises(NetworkError, match=f"Docker would fetch {needs}") as caught:
        build(lock)
    assert "embedded" in caught.value.hint


def test_what_needs_nothing_is_built_offline(build):
    with pytest.raises(MissingToolError, match="docker is not installed"):
        build(locks.lock({}))
