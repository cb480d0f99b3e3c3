"""Which sdists are chosen, in turns: a resolver of a few lines stands in for the real one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from envbuilder.model.errors import BuildError
from envbuilder.model.lock import ArchiveSource
from envbuilder.model.reference import Digest
from envbuilder.model.spec import Spec, from_builtins
from envbuilder.resolve.archives.index_sdists import (
    Indexes,
    RefusedSdistsError,
    choose_with_sdists,
)
from envbuilder.resolve.archives.locking import hint_for
from envbuilder.resolve.packages import early_sdists
from envbuilder.resolve.python.metadata_wheel import StandIn
from envbuilder.resolve.python.requirements import Chosen
from envbuilder.resolve.python.sdists import IndexSdist
from envbuilder.resolve.python.uv import NoWheelError
from tests.unit.locks import wheel


def spec(sdists: object = (), **packages: object) -> Spec:
    plain = {
        "version": 1, "name": "x", "python": "3.12", "base": {"debian": "trixie"},
        "packages": packages, "build": {"sdists": sdists},
    }  # fmt: skip
    return from_builtins(plain)


class World:
    """Packages with sdists alone, and what each version needs once it is asked."""

    def __init__(self, **needs: dict[str, tuple[str, ...]]) -> None:
        self.needs = needs
        self.examined: list[str] = []
        self.yanked: set[str] = set()

    def indexes(self, *wanted: str) -> Indexes:
        return Indexes(ask=lambda offered: self.ask(wanted, offered), offers=self.offers,
                       examine=self.examine)  # fmt: skip

    def ask(self, wanted: tuple[str, ...], offered: Collection[StandIn]) -> Chosen:
        """Take the highest version that needs nothing impossible, and what it needs as well."""
        taken: dict[str, StandIn] = {}
        missing, open_ends = [], [*wanted]
        while open_ends:
            name = open_ends.pop()
            fit = [each for each in offered if each.name == name and "no" not in each.requires_dist]
            if not fit:
                missing.append(name)
            elif name not in taken:
                taken[name] = max(fit, key=lambda each: each.version)
                open_ends += taken[name].requires_dist
        if missing:
            raise NoWheelError("uv's words", packages=tuple(missing), hint="")
        return Chosen(wheels=(wheel("six", "1.0"),), offered=tuple(taken.values()))

    def offers(self, name: str) -> dict[str, IndexSdist]:
        sdist = IndexSdist(
            name=name, version="", filename="", url="", sha256=Digest.of(b""), size=1
        )
        return {
            version: replace(sdist, version=version, yanked=version in self.yanked)
            for version in self.needs.get(name, ())
        }

    def examine(self, sdist: IndexSdist) -> ArchiveSource:
        self.examined.append(f"{sdist.name} {sdist.version}")
        return ArchiveSource(
            name=sdist.name, version=sdist.version, filename="x.tar.gz", size=1,
            sha256=Digest.of(b""), requires_dist=self.needs[sdist.name][sdist.version],
        )  # fmt: skip


def found(world: World, wanted: Spec, *names: str) -> dict[str, str]:
    _, sdists = choose_with_sdists(
        wanted, world.indexes(*names), wanted=wanted.requirements, early=early_sdists(wanted)
    )
    return {each.name: each.version for each in sdists}


def test_only_what_is_chosen_is_asked_what_it_needs():
    world = World(a={"1": (), "2": ("b",), "3": ("no",)}, b={"1": ()})
    assert found(world, spec(["a", "b"]), "a") == {"a": "2", "b": "1"}
    assert world.examined == ["a 3", "a 2", "b 1"]


def test_all_allows_whatever_turns_out_to_be_needed():
    world = World(a={"1": ("b",)}, b={"1": ()})
    assert found(world, spec("all"), "a") == {"a": "1", "b": "1"}


def test_a_build_of_a_packages_own_allows_its_sdist_and_nothing_else():
    world = World(a={"1": ()}, b={"1": ()})
    wanted = spec(a={"version": "*", "build": {"requires": ["ninja"]}}, b="*")
    with pytest.raises(RefusedSdistsError) as caught:
        found(world, wanted, "a", "b")
    assert "\n  b\nuv's words" in caught.value.message
    assert "`build: {sdists: [b]}`" in caught.value.hint


def test_what_is_refused_comes_with_the_whole_line():
    with pytest.raises(RefusedSdistsError) as caught:
        found(World(c={"1": ()}), spec(["c"]), "a", "b", "c")
    assert "\n  a\n  b\n" in caught.value.message
    assert "`build: {sdists: [a, b, c]}`" in caught.value.hint


@pytest.mark.parametrize("sdists", [["a"], "all"])
def test_what_is_allowed_and_has_no_sdist_that_fits_is_told_apart(sdists):
    with pytest.raises(RefusedSdistsError, match="a: no sdist fits this Python"):
        found(World(), spec(sdists), "a")


@pytest.mark.parametrize(
    ("pin", "version"), [("*", "1"), ("==2", "2"), (">=2", "1"), ("==2.*", "1"), ("===2", "2")]
)
def test_a_yanked_sdist_counts_if_the_spec_names_its_version(pin, version):
    world = World(a={"1": (), "2": ()})
    world.yanked = {"2"}
    assert found(world, spec(["a"], a=pin), "a") == {"a": version}


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            "ModuleNotFoundError: No module named 'torch.utils'",
            'a: {…, build: {requires: ["torch"]}}',
        ),
        ("No module named 'pkg_resources'", '["setuptools<82"]'),
        ("setuptools-scm was unable to detect version", "SETUPTOOLS_SCM_PRETEND_VERSION"),
        ("something else", "the log"),
    ],
)
def test_what_most_often_ails_a_build_is_said_before_the_log(said, hint):
    found = hint_for("a", BuildError(said, hint="the log"))
    assert hint in found
    assert found.endswith("the log")


def test_a_search_without_end_ends():
    world = World(a={f"{number:03}": ("no",) for number in range(100)})
    with pytest.raises(Exception, match="40 sdists were examined") as caught:
        found(world, spec(["a"]), "a")
    assert caught.value.hint == "pin a to one version"
    assert len(world.examined) == 40
