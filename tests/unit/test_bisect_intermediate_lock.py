"""Mixtures of two locks: only artifacts of either end, and only what fits together."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.lock import FileTree, Lock, LockedFile
from envbuilder.model.lock_diff import compare
from envbuilder.model.pylock import dump_lock, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.workflow.bisect.intermediate_lock import BASE, PYTHON, SETTINGS, Span, span
from tests.unit import locks
from tests.unit.locks import lock, needs, source, wheel


def between(good: Lock, bad: Lock, **both: dict) -> Span:
    nothing = {"good_needs": {}, "bad_needs": {}}
    return span(good, bad, **nothing | both)


def names(found: Span) -> list[str]:
    return [str(atom) for atom in found.atoms]


def test_independent_packages_move_one_by_one() -> None:
    old = dict.fromkeys("abcde", "1")
    found = between(lock(old), lock(old | {"b": "2", "d": "2"}))
    assert names(found) == ["b", "d"]
    assert all(not atom.after for atom in found.atoms)


def test_the_ends_are_mixtures_too() -> None:
    good = lock({"a": "1", "gone": "1"}, debs={"libc6": "1"})
    bad = lock({"a": "2", "new": "1"}, debs={"libc6": "2"}, env={"X": "1"}, python="3.13")
    found = between(good, bad)
    assert found.mix([]) == good
    assert found.mix(range(len(found.atoms))) == bad
    assert set(found.parts(range(len(found.atoms)))) == {"a", "gone", "new", BASE, PYTHON, SETTINGS}


def test_own_files_are_of_the_end_that_the_settings_are_of() -> None:
    def with_file(version: str, content: bytes) -> Lock:
        held = LockedFile(path="serve.py", size=len(content), sha256=Digest.of(content))
        found = lock({"a": version}, files=[{"from": "serve.py", "to": "/app/serve.py"}])
        return locks.replace_files(found, (FileTree(into="/app", files=(held,)),))

    good, bad = with_file("1", b"old"), with_file("2", b"new")
    found = between(good, bad)
    assert [set(atom.parts) for atom in found.atoms] == [{"a"}, {SETTINGS}]
    assert found.mix([]) == good
    assert found.mix([0]).files == good.files
    assert found.mix([1]).files == bad.files
    assert found.mix([0, 1]) == bad


def test_mixtures_are_locks_that_can_be_written_and_read() -> None:
    good, bad = lock({"a": "1", "b": "1"}), lock({"a": "2", "b": "2"})
    mixed = between(good, bad).mix([0])
    assert parse_lock(dump_lock(mixed)) == mixed
    assert [w.version for w in mixed.wheels] == ["2", "1"]
    assert mixed.spec.packages == {"a": "==2", "b": "==1"}


def test_a_package_waits_for_what_its_new_self_insists_on() -> None:
    good = lock({"transformers": "4.52", "tokenizers": "0.21"})
    bad = lock({"transformers": "4.54", "tokenizers": "0.22"})
    found = between(good, bad, bad_needs=needs(transformers="tokenizers>=0.22"))
    assert names(found) == ["tokenizers", "transformers"]
    assert found.atoms[1].after == {0}
    assert found.close([1]) == {0, 1}


def test_packages_that_insist_on_each_other_are_one_atom() -> None:
    good = lock({"torch": "2.6", "torchvision": "0.21", "a": "1"})
    bad = lock({"torch": "2.7", "torchvision": "0.22", "a": "2"})
    found = between(
        good,
        bad,
        good_needs=needs(torchvision="torch==2.6"),
        bad_needs=needs(torchvision="torch==2.7"),
    )
    assert sorted(names(found)) == ["a", "torch + torchvision"]


def test_what_comes_and_goes_stays_with_those_who_need_it() -> None:
    good, bad = lock({"app": "1", "left": "1"}), lock({"app": "2", "new": "1"})
    found = between(good, bad, good_needs=needs(app="left"), bad_needs=needs(app="new"))
    assert names(found).index("new") < names(found).index("app") < names(found).index("left")


def test_another_python_takes_compiled_wheels_along_and_leaves_the_others() -> None:
    def ends(tag: str, version: str, python: str) -> Lock:
        wheels = (wheel("numpy", "2.0", tag=tag), wheel("six", version), wheel("abi", "1"))
        return replace(lock({}, pins={}, python=python), wheels=wheels)

    good = ends("cp312-cp312-linux_x86_64", "1", "3.12")
    bad = ends("cp313-cp313-linux_x86_64", "2", "3.13")
    assert sorted(names(between(good, bad))) == ["numpy + python", "six"]


def test_one_question_for_all() -> None:
    good = lock({"a": "1"}, smoke={"tokens": {"video": 729}})
    bad = lock(
        {"a": "2"}, smoke={"tokens": {"video": 16384}}, index={"exclude_newer": "2025-07-01"}
    )
    found = between(good, bad)
    assert names(found) == ["a"]
    assert found.mix([]).spec.smoke == bad.spec.smoke
    assert found.mix([]).spec.index == bad.spec.index


def test_git_sources_are_packages() -> None:
    pin = {"vllm": {"git": "https://example.org/vllm.git", "branch": "main"}}
    good = lock({}, pins=pin, sources=(source("vllm", "a" * 40),))
    bad = lock({}, pins=pin, sources=(source("vllm", "b" * 40),))
    found = between(good, bad)
    assert names(found) == ["vllm"]
    assert found.mix([0]).sources == bad.sources


def test_equal_ends_have_nothing_between_them() -> None:
    assert between(lock({"a": "1"}), lock({"a": "1"}, pins={"a": ">=1"})).atoms == ()


PACKAGES = "abcdefgh"


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Lock, Lock, dict, dict]:
    """Two consistent ends whose packages require each other, by old or new versions, at random."""
    ends, wants = [], []
    for version in ("1", "2"):
        present = draw(st.sets(st.sampled_from(PACKAGES), min_size=1))
        ends.append(lock(dict.fromkeys(present, version), pins={}))
        lines = {
            name: ", ".join(
                f"{other}=={version}" if draw(st.booleans()) else other
                for other in draw(st.sets(st.sampled_from(sorted(present)), max_size=3))
                if other != name
            )
            for name in sorted(present)
        }
        wants.append(needs(**lines))
    return ends[0], ends[1], wants[0], wants[1]


@given(world=worlds(), data=st.data())
def test_every_closed_mixture_is_consistent(
    world: tuple[Lock, Lock, dict, dict], data: st.DataObject
) -> None:
    good, bad, old, new = world
    found = span(good, bad, good_needs=old, bad_needs=new)
    count = len(found.atoms)
    assert all(
        earlier < number for number, atom in enumerate(found.atoms) for earlier in atom.after
    )
    chosen = found.close(data.draw(st.sets(st.integers(0, count - 1))) if count else [])
    versions = {each.name: each.version for each in found.mix(chosen).wheels}
    for name, version in versions.items():
        for requirement in {"1": old, "2": new}[version][name]:
            assert versions.get(requirement.name) in requirement.specifier
    assert compare(found.mix(range(count)), bad) == ()


@pytest.mark.parametrize("count", [1, 30])
def test_order_is_stable(count: int) -> None:
    old = {f"p{number}": "1" for number in range(count)}
    first, second = (between(lock(old), lock(dict.fromkeys(old, "2"))) for _ in range(2))
    assert first == second
