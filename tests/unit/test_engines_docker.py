"""What the Docker engine refuses before anything is built, and says of a build that failed."""

from threading import Event

import pytest

from envbuilder.engines.docker import _alarm, _explained, build_with_docker
from envbuilder.model.errors import BuildError, DiskFullError, MissingToolError, NetworkError
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


def test_a_build_that_is_out_of_time_is_stopped():
    stop = Event()
    with _alarm(0.01, stop) as rang:
        assert stop.wait(60)
    assert rang.is_set()


def test_a_build_that_is_in_time_is_not():
    stop = Event()
    with _alarm(0.2, stop) as rang:
        pass
    assert not rang.wait(0.4)
    assert not stop.is_set()


@pytest.mark.parametrize("kind", [BuildError, DiskFullError])
def test_a_failure_tells_the_compilers_errors_first_and_stays_what_it_is(kind, tmp_path):
    log = tmp_path / "log"
    log.write_text("a.cu(3): error: no half8\ng++: fatal error: Killed signal terminated cc1plus\n")
    found = _explained("the step failed", kind("x"), log)
    assert type(found) is kind
    assert found.message.splitlines()[1] == "  a.cu(3): error: no half8"
    assert found.message.endswith("\nthe step failed")
    assert (
        found.hint
        == f"set MAX_JOBS to fewer in the spec's `build: {{env: …}}`; the whole log: {log}"
    )


def test_a_failure_without_errors_is_told_as_it_is(tmp_path):
    found = _explained("the step failed", BuildError("x", hint="look"), tmp_path / "none")
    assert (found.message, found.hint) == ("the step failed", "look")
