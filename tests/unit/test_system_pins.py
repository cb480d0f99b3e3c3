"""When an image base has to be asked for exact packages, and when its answer still holds."""

from dataclasses import replace

import pytest

from envbuilder.engines.render import render, render_question, system_packages
from envbuilder.engines.system_pins import pin_packages
from envbuilder.model.errors import MissingToolError
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from tests.contexts import context

from . import locks
from .dockerfiles import instructions
from .rendered import image


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Pin where there is no docker: whoever asks fails."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def pin(lock, previous=None):
        store = Store(tmp_path / "store")
        return pin_packages(context(store), lock, previous=previous)

    return pin


def pinned(lock):
    return replace(lock, base=replace(lock.base, packages=("git=1:2", "libz=3")))


def test_a_debian_base_is_not_asked(ask):
    lock = locks.lock({"six": "1.17.0"}, system={"packages": ["git"]})
    assert ask(lock) == lock


def test_an_image_without_packages_is_not_asked(ask):
    lock = image()
    plain = replace(lock, spec=locks.lock({}, base={"image": "x"}).spec)
    assert ask(plain) == plain


def test_what_was_pinned_stays(ask):
    assert ask(image(), pinned(image())) == pinned(image())


@pytest.mark.parametrize(
    "previous",
    [
        None,
        image(),
        replace(image(), base=replace(pinned(image()).base, digest=Digest("e" * 64))),
        replace(pinned(image()), spec=locks.lock({}, system={"packages": ["curl"]}).spec),
    ],
    ids=["no lock", "never asked", "another base", "other packages"],
)
def test_else_it_is_asked(ask, previous):
    with pytest.raises(MissingToolError, match="docker is not installed"):
        ask(image(), previous)


def test_pins_are_what_is_installed():
    assert system_packages(pinned(image())) == ("git=1:2", "libz=3")
    assert "git=1:2 \\\n      libz=3\n" in render(pinned(image()))["Dockerfile"]


def test_another_package_manager():
    lock = image()
    base = replace(lock.base, manager="dnf", packages=("git-2-1.el9.x86_64",))
    text = render(replace(lock, base=base))["Dockerfile"]
    assert "dnf --quiet" in text
    assert "apt-get" not in text
    assert "      git-2-1.el9.x86_64\n" in text


def test_the_question_installs_nothing():
    found = instructions(render_question(image())["Dockerfile"])
    assert [words[-1] for name, _, words in found if name == "FROM"] == ["base", "asked", "pins"]
    (asked,) = [words for name, _, words in found if name == "RUN"]
    assert "pins.sh /usr/bin/python3.12" in asked[0]
